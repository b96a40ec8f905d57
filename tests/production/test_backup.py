"""docker/backup.sh and docker/postgres/roles.sh on a real PostgreSQL: all comes back, or nothing changes."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_file import ROOT
from services import HOST, Postgres, missing, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("Debian's postgresql" in missing(), reason="needs Debian's postgresql"),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start_empty()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def roles(postgres: Postgres) -> Postgres:
    script = str(ROOT / "docker" / "postgres" / "roles.sh")
    subprocess.run(["bash", script], env=environment(postgres), check=True, capture_output=True)
    return postgres


def environment(postgres: Postgres) -> dict[str, str]:
    passwords = {f"{name.upper()}_DB_PASSWORD": password for name, password in postgres.passwords.items()}
    server = {"PGHOST": HOST, "PGPORT": str(postgres.port), "PGUSER": "postgres"}
    return os.environ | passwords | server | {"PGPASSWORD": postgres.passwords["postgres"]}


class Site:
    """A workspace and MinIO's folder with something in them."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.backups, self.objects, self.workspace = (folder / name for name in ("backups", "objects", "workspace"))
        for path in (self.objects / "mlflow", self.workspace / "audit", self.workspace / "patches"):
            path.mkdir(parents=True)
        self.backups.mkdir()
        (self.objects / "mlflow" / "model.keras").write_bytes(b"weights")
        (self.workspace / "audit" / "roads.jsonl").write_text("{}\n")
        (self.workspace / "patches" / "images.npy").write_bytes(b"made again")
        self.postgres = postgres

    def start(self, *words: str) -> subprocess.Popen[str]:
        places = {"BACKUPS": self.backups, "OBJECTS": self.objects, "WORKSPACE": self.workspace}
        variables = environment(self.postgres) | {name: str(path) for name, path in places.items()}
        command = ["bash", str(ROOT / "docker" / "backup.sh"), *words]
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    def backup(self) -> Path:
        done = self.run()
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())


@pytest.fixture
def site(tmp_path: Path, roles: Postgres) -> Site:
    roles.query("DROP TABLE IF EXISTS runs; CREATE TABLE runs AS SELECT 'v1' AS name", "airflow")
    return Site(tmp_path, roles)


def test_roles_enter_their_own_database_and_no_other(roles: Postgres) -> None:
    for name in ("airflow", "celery", "mlflow"):
        assert roles.query("SELECT current_user", name) == [[name]]
    foreign = roles.url("celery").removesuffix("/celery") + "/airflow"
    refused = subprocess.run(["psql", "-X", "-c", "SELECT 1", foreign], capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "permission denied" in refused.stderr


def test_a_restore_brings_back_rows_objects_and_files_and_their_owners(site: Site) -> None:
    folder = site.backup()
    site.postgres.query("UPDATE runs SET name = 'v2'", "airflow")
    (site.objects / "mlflow" / "model.keras").unlink()
    (site.workspace / "audit" / "roads.jsonl").unlink()
    done = site.run("restore", folder.name)
    assert done.returncode == 0, done.stderr
    assert site.postgres.query("SELECT name FROM runs", "airflow") == [["v1"]]
    site.postgres.query("INSERT INTO runs VALUES ('v3')", "airflow")  # the service's own role owns it again
    assert (site.objects / "mlflow" / "model.keras").read_bytes() == b"weights"
    assert (site.workspace / "audit" / "roads.jsonl").read_text() == "{}\n"


def test_a_backup_is_for_its_owner_alone_whole_and_without_what_is_made_again(site: Site) -> None:
    folder = site.backup()
    assert {path.name for path in folder.iterdir()} == {
        "airflow.dump", "celery.dump", "mlflow.dump", "objects.tar", "workspace.tar", "SHA256SUMS",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    listed = subprocess.run(["tar", "-tf", folder / "workspace.tar"], capture_output=True, text=True, check=True).stdout
    assert "audit/roads.jsonl" in listed and "patches" not in listed
    assert [path.name for path in site.backups.iterdir()] == [folder.name]


def test_a_damaged_backup_is_refused_and_nothing_changes(site: Site) -> None:
    folder = site.backup()
    with (folder / "mlflow.dump").open("ab") as file:
        file.write(b"x")
    site.postgres.query("UPDATE runs SET name = 'v2'", "airflow")
    done = site.run("restore", folder.name)
    assert done.returncode == 3 and "damaged" in done.stderr
    assert site.postgres.query("SELECT name FROM runs", "airflow") == [["v2"]]


@contextlib.contextmanager
def session(postgres: Postgres, name: str) -> Iterator[subprocess.Popen[str]]:
    """Hold a session on a database, as its own role; the superuser's on `postgres`."""
    process = subprocess.Popen(["psql", "-X", "-q", postgres.url(name)], stdin=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: sessions(postgres, name) > 0, f"a session on {name}")
        yield process
    finally:
        process.kill()
        process.wait()
        wait_for(lambda: sessions(postgres, name) == 0, f"no session on {name}")


def sessions(postgres: Postgres, name: str) -> int:
    """Count the sessions on a database, without the one that counts."""
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    return int(postgres.query(sql, "postgres")[0][0])


def databases(postgres: Postgres) -> list[str]:
    """Return the names of all databases."""
    return [name for (name,) in postgres.query("SELECT datname FROM pg_database ORDER BY datname", "postgres")]


def waits_for_a_lock(postgres: Postgres) -> bool:
    """Whether some session waits for another's lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return postgres.query(sql, "postgres") != [["0"]]


def test_a_restore_into_a_database_in_use_is_refused(site: Site) -> None:
    folder = site.backup()
    with session(site.postgres, "celery"):
        done = site.run("restore", folder.name)
    assert done.returncode == 75 and "celery is in use" in done.stderr


def test_a_session_that_comes_while_a_restore_is_under_way_stops_it_and_nothing_changes(site: Site) -> None:
    folder, before = site.backup(), databases(site.postgres)
    site.postgres.query("UPDATE runs SET name = 'v2'", "airflow")
    with session(site.postgres, "postgres") as gate, contextlib.ExitStack() as late:
        assert gate.stdin is not None
        gate.stdin.write("BEGIN; LOCK TABLE pg_database IN SHARE ROW EXCLUSIVE MODE;\n")
        gate.stdin.flush()
        restoring = site.start("restore", folder.name)
        # it has found no session and is about to make its databases
        wait_for(lambda: waits_for_a_lock(site.postgres), "the restore waits")
        late.enter_context(session(site.postgres, "mlflow"))
        gate.stdin.write("COMMIT;\n")
        gate.stdin.flush()
        _, said = restoring.communicate()
    assert restoring.returncode == 75 and "nothing was changed" in said
    assert '"mlflow" is being accessed by other users' in said
    assert databases(site.postgres) == before
    assert site.postgres.query("SELECT name FROM runs", "airflow") == [["v2"]]
    assert site.run("restore", folder.name).returncode == 0
    assert site.postgres.query("SELECT name FROM runs", "airflow") == [["v1"]]


def test_databases_stay_closed_until_the_files_are_back_too(site: Site) -> None:
    folder, before = site.backup(), databases(site.postgres)
    site.objects.rename(site.objects.with_name("away"))
    done = site.run("restore", folder.name)
    assert done.returncode != 0 and "run it again" in done.stderr
    with pytest.raises(subprocess.CalledProcessError) as refused:
        site.postgres.query("SELECT 1", "airflow")
    assert "not currently accepting connections" in refused.value.stderr
    site.objects.mkdir()
    assert site.run("restore", folder.name).returncode == 0
    assert site.postgres.query("SELECT name FROM runs", "airflow") == [["v1"]]
    assert (site.objects / "mlflow" / "model.keras").read_bytes() == b"weights"
    assert databases(site.postgres) == before


def test_an_unknown_backup_is_refused_and_the_others_are_named(site: Site) -> None:
    folder = site.backup()
    done = site.run("restore", "2001-01-01T00-00-00Z")
    assert done.returncode == 2 and folder.name in done.stderr


def test_what_could_not_be_backed_up_leaves_no_backup(site: Site) -> None:
    site.objects.rename(site.objects.with_name("gone"))
    assert site.run().returncode != 0
    assert list(site.backups.iterdir()) == []


def test_a_task_that_writes_its_log_meanwhile_does_not_spoil_the_backup(site: Site) -> None:
    log = site.workspace / "airflow" / "logs" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 200_000_000)
    writer = subprocess.Popen(["sh", "-c", 'while sleep 0.01; do echo epoch >> "$0"; done', str(log)])
    try:
        done = site.run()
    finally:
        writer.kill()
        writer.wait()
    assert "file changed as we read it" in done.stderr  # it really grew meanwhile
    assert done.returncode == 0, done.stderr
    assert site.run("restore", Path(done.stdout.strip()).name).returncode == 0
