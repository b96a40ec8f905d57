"""The embedded Airflow: generated secrets, free ports, and processes that surely end."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from satseg.storage.layout import Workspace
from satseg_airflow.embedded import environment, processes
from satseg_airflow.embedded.environment import MARK, Home, Ports, free_ports
from satseg_airflow.embedded.processes import Started, marked, start, stop

PORTS = Ports(8080, 8793, 8794, 5000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(Workspace(tmp_path / "workspace"), tmp_path)
    made.prepare()
    return made


def test_secrets_and_passwords_are_generated_once_and_readable_by_the_owner_alone(home, tmp_path) -> None:
    before = home.environment(PORTS), home.passwords()
    home.prepare()
    assert (home.environment(PORTS), home.passwords()) == before
    assert len({*home.passwords().values()}) == len(environment.USERS)
    assert all(len(password) >= 12 for password in home.passwords().values())
    for path in (home.folder / "secrets.json", home.passwords_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_two_workspaces_have_different_secrets(home, tmp_path) -> None:
    other = Home(Workspace(tmp_path / "other"), tmp_path)
    other.prepare()
    for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY"):
        assert home.environment(PORTS)[name] != other.environment(PORTS)[name]


def test_environment_keeps_everything_in_the_workspace(home) -> None:
    made = home.environment(PORTS)
    assert made["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{home.folder}/airflow.db"
    for name in ("AIRFLOW_HOME", "AIRFLOW__LOGGING__BASE_LOG_FOLDER", "SATSEG_WORKSPACE"):
        assert made[name].startswith(str(home.workspace.root))
    assert made["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_configuration_in_git_holds_no_secret_and_makes_nobody_admin_without_login() -> None:
    text = (environment.ROOT / "airflow.cfg").read_text()
    assert "all_admins" not in text
    assert not any(word in text for word in ("fernet_key", "secret_key", "jwt_secret =", "password ="))


def test_taken_ports_are_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        marks: list[socket.socket] = []
        assert environment._first_free(taken.getsockname()[1], marks) != taken.getsockname()[1]
        marks[0].close()


def test_two_that_start_at_once_never_take_the_same_ports() -> None:
    first, second = free_ports(), free_ports()
    numbers = [port for found in (first, second) for port in vars(found).values() if isinstance(port, int)]
    assert len(set(numbers)) == 8
    second.release()
    first.release()
    again = free_ports()
    assert again == first
    again.release()


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
open(sys.argv[1], "w").close()
time.sleep(600)
"""


def test_stop_leaves_no_process_of_this_airflow_and_touches_no_other(home, tmp_path) -> None:
    ready = tmp_path / "ready"
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    command = [sys.executable, "-c", STUBBORN, str(ready)]
    component = start("stubborn", command, os.environ | {MARK: str(home.folder)}, tmp_path / "log", tied=True)
    while not ready.exists():
        time.sleep(0.05)
    try:
        assert len(marked(home.folder)) == 2
        stop([component], home.folder, patience_s=0.3)
        assert marked(home.folder) == []
        assert component.ended()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_process_number_used_again_by_another_process_is_not_ours() -> None:
    assert Started("old", os.getpid(), psutil.Process().create_time() - 3600).ended()
    assert not Started("this", os.getpid(), psutil.Process().create_time()).ended()


def embedded(command: str, home: Home) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "satseg_airflow.embedded", command, "--workspace", str(home.workspace.root)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_stale_state_of_a_restarted_machine_is_not_taken_for_running(home) -> None:
    state = {"airflow": "http://x", "mlflow": "http://y", "processes": [{"name": "api", "pid": 1, "created": 1.0}]}
    home.state_file.write_text(json.dumps(state))
    asked = embedded("status", home)
    assert asked.returncode == 4
    assert "Nothing runs" in asked.stderr
    assert embedded("down", home).returncode == 0
    assert not home.state_file.exists()


def test_tied_process_ends_with_its_parent(tmp_path) -> None:
    assert processes.POLL_S < 1
    code = (
        "import os, sys; from pathlib import Path; from satseg_airflow.embedded.processes import start;"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)'];"
        "p = start('x', sleep, dict(os.environ), Path(sys.argv[1]), True);"
        "print(p.pid, flush=True); import time; time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
