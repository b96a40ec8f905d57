"""docker/backup.sh and docker/postgres/roles.sh on a real PostgreSQL: all comes back, or nothing changes."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_file import ROOT
from services import HOST, Postgres, missing

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'celery'"
CONNECTED_WITHIN_S = 60

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

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = {"BACKUPS": self.backups, "OBJECTS": self.objects, "WORKSPACE": self.workspace}
        variables = environment(self.postgres) | {name: str(path) for name, path in places.items()}
        command = ["bash", str(ROOT / "docker" / "backup.sh"), *words]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

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


def test_a_restore_into_a_database_in_use_is_refused(site: Site) -> None:
    folder = site.backup()
    busy = subprocess.Popen(
        ["psql", "-X", "-c", "SELECT pg_sleep(60)", site.postgres.url("celery")], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + CONNECTED_WITHIN_S
        while site.postgres.query(SESSIONS, "postgres") == [["0"]]:
            assert time.monotonic() < deadline, "psql is not connected"
            time.sleep(0.1)
        done = site.run("restore", folder.name)
        assert done.returncode == 75 and "celery is in use" in done.stderr
    finally:
        busy.kill()
        busy.wait()


def test_an_unknown_backup_is_refused_and_the_others_are_named(site: Site) -> None:
    folder = site.backup()
    done = site.run("restore", "2001-01-01T00-00-00Z")
    assert done.returncode == 2 and folder.name in done.stderr


def test_what_could_not_be_backed_up_leaves_no_backup(site: Site) -> None:
    site.objects.rename(site.objects.with_name("gone"))
    assert site.run().returncode != 0
    assert [path.name for path in site.backups.iterdir() if not path.name.startswith(".unfinished")] == []
