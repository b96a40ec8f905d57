"""docker/mlflow-start.sh on PostgreSQL and an S3 server: logins, artifacts through the server, no key for clients."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from compose_file import ROOT
from services import HOST, Postgres, free_port, missing, wait_for

pytestmark = [
    pytest.mark.celery,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing("flask_wtf")), reason=f"needs {', '.join(missing('flask_wtf'))}"),
]
PASSWORD = "p" * 32
get = partial(httpx.get, trust_env=False, timeout=60)  # the first request of a worker imports half of MLflow
CLIENT = """
import mlflow, pathlib, sys
mlflow.set_experiment("test")
with mlflow.start_run() as run:
    mlflow.log_metric("iou", 0.5)
    mlflow.log_text("hello", "note.txt")
print(mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"), run.info.artifact_uri)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of the server."""
    import boto3
    from moto.server import ThreadedMotoServer

    postgres, store, port = Postgres(), ThreadedMotoServer(ip_address=HOST, port=0, verbose=False), free_port()
    postgres.start()
    store.start()
    s3 = f"http://{HOST}:{store.get_host_and_port()[1]}"
    keys = {"AWS_ACCESS_KEY_ID": "mlflow", "AWS_SECRET_ACCESS_KEY": "k" * 20}
    login = {"aws_access_key_id": "mlflow", "aws_secret_access_key": "k" * 20, "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=s3, **login).create_bucket(Bucket="mlflow")
    environment = os.environ | keys | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(tmp_path_factory.mktemp("mlflow")),
        "MLFLOW_DATABASE": postgres.url("mlflow").replace("://", "+psycopg2://", 1),
        "MLFLOW_AUTH_ADMIN_USERNAME": "satseg",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "f" * 32,
        "MLFLOW_ALLOWED_HOSTS": f"{HOST}:{port}",
        "MLFLOW_BUCKET": "s3://mlflow",
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "MLFLOW_HOST": HOST, "MLFLOW_PORT": str(port), "MLFLOW_WORKERS": "1", "NO_PROXY": HOST,
    }  # fmt: skip
    start = ["sh", str(ROOT / "docker" / "mlflow-start.sh")]
    process = subprocess.Popen(start, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    url = f"http://{HOST}:{port}"
    try:
        wait_for(lambda: _answers(url), "MLflow answers", 1200)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        store.stop()
        postgres.stop()


def _answers(url: str) -> bool:
    try:
        return get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


def test_without_a_login_nothing_is_shown(server: str) -> None:
    address = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
    assert get(address).status_code == httpx.codes.UNAUTHORIZED
    wrong = get(address, auth=("satseg", "admin"))
    assert wrong.status_code == httpx.codes.UNAUTHORIZED
    assert get(address, auth=("satseg", PASSWORD)).is_success
    default = get(address, auth=("admin", "password1234"))  # what MLflow starts with by itself
    assert default.status_code == httpx.codes.UNAUTHORIZED


def test_a_stage_logs_and_reads_artifacts_with_the_login_alone(server: str, tmp_path: Path) -> None:
    keyless = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    login = {"MLFLOW_TRACKING_URI": server, "MLFLOW_TRACKING_USERNAME": "satseg", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        env=keyless | login | {"NO_PROXY": HOST, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "hello mlflow-artifacts:/" in done.stdout


def test_a_foreign_host_name_is_refused(server: str) -> None:
    answer = get(f"{server}/", headers={"Host": "evil.example"}, auth=("satseg", PASSWORD))
    assert answer.status_code == httpx.codes.FORBIDDEN
