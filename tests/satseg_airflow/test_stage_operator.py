"""One operator: command line in, exit code out."""

import json
import os
import signal
import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from satseg.config.settings import settings
from satseg.errors import LockHeldError
from satseg.storage.devices import Device
from satseg.storage.layout import Workspace
from satseg.storage.leases import leased
from satseg_airflow import runners
from satseg_airflow.operators.stage import StageOperator, command_arguments
from satseg_airflow.pools import gpu_slots


def stage(name: str = "ingest", **more: Any) -> StageOperator:
    return StageOperator(task_id="task", stage=name, project="buildings", **more)


def ended(pid: int, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def read_when_there(path: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} never appeared")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["v3", "--check"], ["v3", "--check"]),
        (["--dataset-version", "", "--force"], ["--force"]),
        (["--dataset-version", None], []),
        (["--scene", ["a", "b"], "--night", "2026-01-01"], ["--scene", "a", "--scene", "b", "--night", "2026-01-01"]),
        (["--scene", []], []),
        (["--set", "training.epochs=", "--set", "training.batch_size=4"], ["--set", "training.batch_size=4"]),
        (["", "--check"], ["--check"]),
        (["--check", "--force"], ["--check", "--force"]),
    ],
)
def test_arguments_leave_out_options_without_a_value(arguments: list[Any], words: list[str]) -> None:
    assert command_arguments(arguments) == words


def test_words_name_stage_project_and_result_file() -> None:
    words = stage("drift-profile", arguments=["--night", "2026-01-01"], scenes=["a", "b"]).words(Path("/r.json"))
    assert words == [
        *("drift", "profile", "--scene", "a", "--scene", "b", "--night", "2026-01-01"),
        *("--project", "buildings", "--result", "/r.json"),
    ]


def test_predict_takes_scenes_as_positional_arguments_also_from_json() -> None:
    words = stage("predict", arguments=["--model", "3"], scenes='["a", "b"]').words(Path("/r.json"))
    assert words[:5] == ["predict", "a", "b", "--model", "3"]


def test_gpu_stages_wait_for_the_gpu_pool_and_bring_their_time_out() -> None:
    assert stage("train").pool == "gpu"
    assert stage("train").execution_timeout == timedelta(days=2)
    assert stage("ingest").pool == "default_pool"
    assert "satseg ingest --help" in str(stage("ingest").doc_md)


def test_result_becomes_the_return_value_and_leaves_no_file(fake_satseg, task_context, workspace) -> None:
    fake_satseg("result(message='fine', scenes=['a'])")
    assert stage().execute(task_context) == {"message": "fine", "scenes": ["a"]}
    assert list((workspace / "scratch").iterdir()) == []


def test_a_stage_knows_the_dag_run_it_works_for(fake_satseg, task_context, workspace) -> None:
    fake_satseg("result(message='done', dag_run=os.environ['SATSEG_DAG_RUN'])")
    assert stage().execute(task_context)["dag_run"] == "buildings.x/manual__1"


def test_temporary_files_of_a_killed_stage_are_removed(fake_satseg, task_context, workspace) -> None:
    fake_satseg("import tempfile; tempfile.mkstemp(); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(AirflowException, match="signal 9"):
        stage("train").execute(task_context)
    assert list((workspace / "scratch").iterdir()) == []


SEEN = "result(message='x', **{name: os.environ.get(name) for name in ('CUDA_VISIBLE_DEVICES', 'SATSEG_LEASE')})"


@pytest.fixture
def gpus(monkeypatch):
    """Make the machine have so many GPUs."""

    def make(count: int) -> None:
        monkeypatch.setenv("SATSEG_GPU_COUNT", str(count))
        settings.cache_clear()

    return make


def test_a_gpu_stage_gets_a_device_of_its_own_and_others_get_none(fake_satseg, task_context, workspace, gpus) -> None:
    gpus(2)
    fake_satseg(SEEN)
    with leased(Workspace(workspace), [Device("gpu", "0")]):
        result = stage("train").execute(task_context)
    assert result["CUDA_VISIBLE_DEVICES"] == "1"
    assert result["SATSEG_LEASE"].endswith(":gpu-1")
    assert stage("train", pool_slots=2).execute(task_context)["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert stage("ingest").execute(task_context)["SATSEG_LEASE"] is None
    gpus(0)
    assert stage("train").execute(task_context)["CUDA_VISIBLE_DEVICES"] == "-1"


def test_a_stage_waits_for_a_device_and_is_tried_again_when_none_becomes_free(
    fake_satseg, task_context, workspace, gpus, monkeypatch
) -> None:
    gpus(1)
    monkeypatch.setattr("satseg_airflow.operators.stage.LEASE_WITHIN_S", 0.3)
    fake_satseg("result(message='x')")
    taken = leased(Workspace(workspace), [Device("gpu", "0")])
    with taken, pytest.raises(LockHeldError, match=r"gpu-0.*in use"):
        stage("train").execute(task_context)
    assert stage("train").execute(task_context) == {"message": "x"}
    assert list((workspace / "scratch").iterdir()) == []


def test_the_pool_has_a_slot_for_each_device(gpus) -> None:
    gpus(3)
    assert gpu_slots() == 3
    gpus(0)
    assert gpu_slots() == 1


def test_output_of_the_stage_is_in_the_task_log(fake_satseg, task_context, caplog) -> None:
    fake_satseg("print('to stdout'); print('to stderr', file=sys.stderr); result(message='x')")
    operator = stage()
    lines: list[str] = []
    operator.log.info = lambda form, *values: lines.append(form % values)  # type: ignore[method-assign]
    operator.execute(task_context)
    assert {"to stdout", "to stderr"} <= set(lines)


def test_stage_does_not_see_airflow_secrets(fake_satseg, task_context, monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    fake_satseg("result(message='x', seen=[name for name in os.environ if name.startswith('AIRFLOW__')])")
    assert stage().execute(task_context)["seen"] == []


def test_decision_against_skips_and_keeps_the_result(fake_satseg, task_context) -> None:
    fake_satseg("result(message='IoU 0.10 is below 0.30', decision='refused'); sys.exit(4)")
    with pytest.raises(AirflowSkipException, match=r"below 0\.30"):
        stage("promote").execute(task_context)
    assert task_context["ti"].pushed["return_value"]["decision"] == "refused"


@pytest.mark.parametrize("code", [2, 3])
def test_bad_usage_and_bad_data_fail_without_retry(fake_satseg, task_context, code: int) -> None:
    fake_satseg(f"print('error: scene a is empty', file=sys.stderr); print('bye'); sys.exit({code})")
    with pytest.raises(AirflowFailException, match=rf"exit code {code}: scene a is empty"):
        stage().execute(task_context)


@pytest.mark.parametrize("code", [75, 1])
def test_temporary_trouble_is_retried(fake_satseg, task_context, code: int) -> None:
    fake_satseg(f"print('error: lock held', file=sys.stderr); sys.exit({code})")
    with pytest.raises(AirflowException, match="lock held") as raised:
        stage().execute(task_context)
    assert not isinstance(raised.value, AirflowFailException | AirflowSkipException)


def test_death_by_signal_is_retried(fake_satseg, task_context) -> None:
    fake_satseg("print('epoch 2', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(AirflowException, match=r"signal 9.*epoch 2") as raised:
        stage("train").execute(task_context)
    assert not isinstance(raised.value, AirflowFailException)


def test_missing_result_file_is_an_error(fake_satseg, task_context) -> None:
    fake_satseg("print('done')")
    with pytest.raises(AirflowException, match="exit code 0"):
        stage().execute(task_context)


STUBBORN = """
ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", ignore])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(os.environ["PIDS"]).write_text(json.dumps([os.getpid(), child.pid]))
time.sleep(600)
"""


def test_kill_leaves_no_process_even_when_they_ignore_sigterm(fake_satseg, task_context, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    monkeypatch.setattr(runners, "STOP_GRACE_S", 0.5)
    fake_satseg(STUBBORN)
    operator = stage("train")
    killer = threading.Thread(target=lambda: (read_when_there(tmp_path / "pids"), operator.on_kill()))
    killer.start()
    with pytest.raises(AirflowException, match="signal 9"):
        operator.execute(task_context)
    killer.join()
    assert all(ended(pid) for pid in json.loads((tmp_path / "pids").read_text()))


def test_time_out_in_the_task_leaves_no_process(fake_satseg, task_context, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    fake_satseg("Path(os.environ['PIDS']).write_text(str(os.getpid())); time.sleep(600)")

    def time_out(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(TimeoutError):
            stage("train").execute(task_context)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert ended(int((tmp_path / "pids").read_text()))


def test_stage_is_gone_before_airflow_kills_its_task() -> None:
    assert runners.STOP_GRACE_S < 5  # seconds between SIGTERM and SIGKILL in Airflow's task supervisor


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the kernel's parent-death signal is Linux's")
def test_stage_ends_when_its_worker_is_killed_hard(fake_satseg, tmp_path, python) -> None:
    fake_satseg("Path(os.environ['PIDS']).write_text(str(os.getpid())); time.sleep(600)")
    worker = subprocess.Popen(
        [
            python,
            "-c",
            "import os, sys; from pathlib import Path;"
            "from satseg_airflow.runners import Job, SubprocessRunner, TaskKey;"
            "os.environ['PYTHONPATH'] = sys.argv[1];"  # the stage is the fake one, the runner is not
            "SubprocessRunner().run(Job('train', [], Path('/tmp'), TaskKey('d', 'r', 't', -1)), print)",
            os.environ["PYTHONPATH"],
        ],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"PIDS": str(tmp_path / "pid")},
    )
    pid = int(read_when_there(tmp_path / "pid"))
    worker.kill()
    worker.wait()
    assert ended(pid)
