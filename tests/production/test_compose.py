"""docker-compose.yaml: every service is checked, limited and restarted, and none has a secret before `make secrets`."""

import base64
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_file import COMPOSE, PROFILES, ROOT, compose, config, program, services, variables

from satseg.stages import STAGES

SECRET = re.compile(r"PASSWORD|SECRET|FERNET|KEYS?$|_KEY$")
WEB = {"airflow-api", "mlflow", "serving", "grafana", "sonarqube"}
ONE_SHOT = {"minio-init", "airflow-init", "backup"}
MAKER = ROOT / "docker" / "make_secrets.py"

needs_compose = pytest.mark.skipif(program() is None, reason="no Compose here: apt-get install docker-compose")


def make(env_file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAKER), "--file", str(env_file), "--root", "/srv/satseg"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    assert make(tmp_path / ".env").returncode == 0
    return tmp_path / ".env"


@pytest.mark.parametrize("name", sorted(services()))
def test_service_has_health_check_limits_and_restart_policy(name: str) -> None:
    service = services()[name]
    assert service["healthcheck"]["test"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(services()))
def test_image_is_pinned_and_can_be_replaced(name: str) -> None:
    replaceable = re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-([^}]+)\}", services()[name]["image"])
    assert replaceable
    assert re.search(r":[^/]*\d", replaceable[1]) and "latest" not in replaceable[1]


def test_no_secret_has_a_default() -> None:
    asked = variables(COMPOSE.read_text())
    secrets = {name: rest for name, rest in asked.items() if SECRET.search(name)}
    assert len(secrets) > 12
    assert {name for name, rest in secrets.items() if not rest.startswith(":?")} == set()
    for name, service in services().items():
        for variable, value in (service.get("environment") or {}).items():
            if SECRET.search(variable) and "SINGLE_KEYS" not in variable:
                assert "${" in str(value) and ":?" in str(value), f"{name}: {variable}={value}"


def test_every_secret_asked_for_is_made(env_file: Path) -> None:
    must = {name for name, rest in variables(COMPOSE.read_text()).items() if rest.startswith(":?")}
    made = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert must <= set(made)
    secrets = [value for name, value in made.items() if SECRET.search(name)]
    assert len(set(secrets)) == len(secrets) and min(map(len, secrets)) >= 40
    assert env_file.stat().st_mode & 0o077 == 0


def test_secrets_stay_as_they_are_when_made_again(env_file: Path) -> None:
    before = env_file.read_text()
    assert make(env_file).returncode == 0
    assert env_file.read_text() == before


def test_what_people_wrote_is_kept_and_what_is_missing_added(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("# mine\nBIND_ADDRESS=10.1.2.3\nREDIS_PASSWORD=\n")
    assert make(env_file).returncode == 0
    text = env_file.read_text()
    assert text.startswith("# mine\nBIND_ADDRESS=10.1.2.3\n")
    assert re.search(r"^REDIS_PASSWORD=[0-9a-f]{48}$", text, re.MULTILINE) and text.count("REDIS_PASSWORD") == 1


@pytest.mark.parametrize("bad", ["changeme", "password123", "short", "minioadmin"])
def test_weak_secrets_are_refused_and_nothing_is_written(tmp_path: Path, bad: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"REDIS_PASSWORD={bad}\n")
    done = make(env_file)
    assert done.returncode == 1 and "REDIS_PASSWORD" in done.stderr
    assert env_file.read_text() == f"REDIS_PASSWORD={bad}\n"


def test_one_secret_used_twice_is_refused(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"REDIS_PASSWORD={'a1' * 20}\nPOSTGRES_PASSWORD={'a1' * 20}\n")
    done = make(env_file)
    assert done.returncode == 1 and "used twice" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("REDIS_PASSWORD=abcdefgh/ijklmnop@q", "address"),
        ("AIRFLOW_FERNET_KEY=" + "ab" * 20, "base64"),
        ("WORKSPACE_DIR=work", "full path"),
        ("SERVING_KEYS=abcdefghijklmnopqrst,b", "shorter"),
        ("export POSTGRES_PASSWORD='changeme'", "well known"),
    ],
)
def test_what_no_service_could_start_with_is_refused_and_nothing_is_written(
    tmp_path: Path, line: str, said: str
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"{line}\n")
    done = make(env_file)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"] and env_file.read_text() == f"{line}\n"


def test_a_rotated_fernet_key_and_quotes_are_taken(env_file: Path) -> None:
    made = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    other = base64.urlsafe_b64encode(b"k" * 32).decode()
    text = env_file.read_text().replace(made["AIRFLOW_FERNET_KEY"], f"{other},{made['AIRFLOW_FERNET_KEY']}")
    env_file.write_text(text.replace(made["SERVING_KEYS"], f'"{made["SERVING_KEYS"]}"'))
    assert make(env_file).returncode == 0
    assert (env_file.parent / ".secrets" / "serving_key").read_text() == made["SERVING_KEYS"]


def test_a_new_serving_key_reaches_the_file_that_prometheus_has_mounted(env_file: Path) -> None:
    mounted = env_file.parent / ".secrets" / "serving_key"
    inode, key = mounted.stat().st_ino, mounted.read_text()
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith("SERVING_KEYS=")]
    env_file.write_text("\n".join(lines))
    assert make(env_file).returncode == 0
    assert mounted.stat().st_ino == inode and mounted.read_text() != key


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    done = make(tmp_path / "away" / ".env")
    assert done.returncode == 1 and "could not be read or written" in done.stderr and "Traceback" not in done.stderr


@needs_compose
@pytest.mark.slow
@pytest.mark.parametrize("profiles", [(), ("monitoring",), ("gpu",), PROFILES], ids="+".join)
def test_compose_accepts_the_file(env_file: Path, profiles: tuple[str, ...]) -> None:
    done = config(env_file, *profiles)
    assert done.returncode == 0, done.stderr
    wanted = {
        name for name, one in services().items() if not one.get("profiles") or set(one["profiles"]) & set(profiles)
    }
    assert wanted <= set(yaml.safe_load(done.stdout)["services"])


@needs_compose
@pytest.mark.slow
def test_compose_refuses_to_start_without_a_secret(env_file: Path) -> None:
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith("AIRFLOW_JWT_SECRET=")]
    env_file.write_text("\n".join([*lines, "AIRFLOW_JWT_SECRET="]))
    done = config(env_file)
    assert done.returncode != 0 and "make secrets" in done.stderr


def test_only_user_interfaces_and_the_service_are_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == WEB
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for ports in published.values() for port in ports)
    assert not any(service.get("network_mode") or service.get("privileged") for service in services().values())


def test_networks_without_a_way_out_and_stages_away_from_the_databases() -> None:
    assert {name for name, network in compose()["networks"].items() if not network.get("internal")} == {"front"}
    assert compose()["networks"]["stages"]["name"] == services()["worker-gpu"]["environment"]["SATSEG_DOCKER_NETWORK"]
    for name in ("postgres", "redis", "docker-proxy"):
        assert "stages" not in services()[name]["networks"]
    assert {name for name, one in services().items() if "engine" in one["networks"]} == {
        "docker-proxy", "worker-default", "worker-gpu",
    }  # fmt: skip


def networks_with(env_file: Path, override: str) -> tuple[dict[str, set[str]], set[str]]:
    """Return the networks of each service, and the networks with a way out, when a file of docker/ is added."""
    with env_file.open("a") as file:
        file.write("PRIVATE_ADDRESS=10.8.0.1\nFIRST_MACHINE=10.8.0.1\n")
    done = config(env_file, "monitoring", "gpu", also=(override,))
    assert done.returncode == 0, done.stderr
    merged = yaml.safe_load(done.stdout)
    of_services = {name: set(one["networks"]) for name, one in merged["services"].items()}
    return of_services, {name for name, one in merged["networks"].items() if not (one or {}).get("internal")}


@needs_compose
@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "let_out", "open_networks"),
    [
        ("alerts", {"worker-default", "worker-gpu", "airflow-dag-processor", "prometheus"}, {"front"}),
        ("outside-store", set(), {"front", "stages"}),
        ("first-machine", {"redis", "postgres", "minio"}, {"front"}),
        ("gpu-machine", {"worker-gpu"}, {"front", "stages"}),
    ],
)
def test_each_further_file_opens_what_it_says_and_no_more(
    env_file: Path, override: str, let_out: set[str], open_networks: set[str]
) -> None:
    of_services, with_way_out = networks_with(env_file, f"compose.{override}.yaml")
    before = {name for name, one in services().items() if "front" in one["networks"]}
    assert {name for name, networks in of_services.items() if "front" in networks} - before == let_out
    assert with_way_out == open_networks
    assert all(set(services()[name]["networks"]) <= networks for name, networks in of_services.items())


def test_the_docker_socket_belongs_to_the_proxy_and_the_proxy_allows_what_the_runner_needs() -> None:
    with_socket = {name for name, one in services().items() if "docker.sock" in str(one.get("volumes"))}
    assert with_socket == {"docker-proxy"}
    proxy = services()["docker-proxy"]
    assert any(word.startswith("-allowbindmountfrom=${WORKSPACE_DIR") for word in proxy["command"])
    rules = [re.fullmatch(r"-allow([A-Z]+)=(.*)", word) for word in proxy["command"]]
    allowed = {rule[1]: re.compile(rule[2]) for rule in rules if rule}
    container = "/v1.47/containers/" + "0af1" * 16
    needed = [
        ("POST", "/v1.47/containers/create"), ("POST", f"{container}/start"), ("POST", f"{container}/wait"),
        ("POST", f"{container}/stop"), ("POST", f"{container}/attach"), ("GET", f"{container}/json"),
        ("GET", f"{container}/logs"), ("DELETE", container), ("GET", "/v1.47/containers/json"), ("GET", "/version"),
        ("GET", "/v1.47/images/satseg/satseg:0.1.0/json"),
    ]  # fmt: skip
    assert [one for one in needed if not allowed[one[0]].fullmatch(one[1])] == []
    refused = [
        ("POST", f"{container}/exec"), ("POST", "/v1.47/exec/1/start"), ("POST", "/v1.47/build"),
        ("POST", "/v1.47/volumes/create"), ("GET", "/v1.47/secrets"), ("POST", "/v1.47/containers/prune"),
        ("POST", "/v1.47/images/create"), ("GET", f"{container}/archive"), ("POST", f"{container}/update"),
        ("DELETE", "/v1.47/images/x"), ("DELETE", "/v1.47/volumes/x"), ("GET", f"{container}/export"),
    ]  # fmt: skip
    assert [one for one in refused if allowed[one[0]].fullmatch(one[1])] == []


def test_workers_get_no_orchestrator_secret() -> None:
    for name in ("worker-default", "worker-gpu"):
        environment = services()[name]["environment"]
        text = str(environment)
        for secret in ("AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY"):
            assert secret not in text
        assert "POSTGRES_PASSWORD" not in text and "MINIO_ROOT_PASSWORD" not in text
    scheduler = services()["airflow-scheduler"]["environment"]
    assert set(environment) < set(scheduler)


def production() -> dict[str, str]:
    lines = (ROOT / "docker" / "airflow.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_no_stage_can_be_delivered_twice() -> None:
    settings = production()
    longest_s = max(stage.timeout_minutes for stage in STAGES.values()) * 60
    assert (
        int(settings["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > 2 * longest_s >= 2 * 30 * 3600
    )
    assert settings["AIRFLOW__CELERY__TASK_ACKS_LATE"] == "False"
    assert settings["AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER"] == "1"
    extra = yaml.safe_load(settings["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"])
    assert extra["worker_disable_prefetch"] is True
    assert "task_time_limit" not in extra  # execution_timeout of each task instead, which saves what it has


def test_every_airflow_service_has_the_production_settings_and_a_queue_has_a_worker() -> None:
    airflow = {name: one for name, one in services().items() if "AIRFLOW_IMAGE" in one["image"]}
    assert len(airflow) == 7
    assert all(one["env_file"] == "docker/airflow.env" for one in airflow.values())
    assert production()["AIRFLOW__CORE__AUTH_MANAGER"].endswith("FabAuthManager")
    assert "gpu" in services()["worker-gpu"]["command"]
    assert "${WORKER_QUEUES:-default}" in services()["worker-default"]["command"]
    places = runpy.run_path(str(MAKER))["places"](Path("/srv"))
    assert places["WORKER_QUEUES"] == ("default,gpu" if places["GPU_COUNT"] == "0" else "default")


@pytest.mark.parametrize("name", sorted(services()))
def test_mounted_files_exist(name: str) -> None:
    for volume in services()[name].get("volumes", []):
        if volume.startswith("./") and not volume.startswith("./.secrets/"):
            assert (ROOT / volume.partition(":")[0]).exists(), volume


def pins(*paths: str) -> dict[str, str]:
    lines = [line for path in paths for line in (ROOT / path).read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_the_packages_of_production_have_the_versions_of_the_development_environment() -> None:
    ours = pins("requirements.txt")
    assert set(ours) & set(pins("requirements-production.txt")) == set()  # it only adds
    known = ours | pins("requirements-production.txt")
    server = pins("docker/requirements/mlflow.txt")
    assert {"mlflow", "psycopg2-binary", "boto3", "flask-wtf"} <= set(server)
    assert {name: version for name, version in server.items() if known.get(name, version) != version} == {}
