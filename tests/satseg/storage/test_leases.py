import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from satseg.config.settings import settings
from satseg.errors import ConfigurationError, LockHeldError
from satseg.storage import devices as machine
from satseg.storage.devices import Device
from satseg.storage.layout import Workspace
from satseg.storage.leases import is_leased, joined, leased

TWO = [Device("gpu", "0"), Device("gpu", "1")]
WORKER = Path(__file__).with_name("lease_workers.py")


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch):
    settings.cache_clear()
    machine.nvidia_gpus.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    machine.nvidia_gpus.cache_clear()


def worker(root: Path, name: str, count: int, seconds: float, gpus: int = 2) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WORKER), str(root), name, str(count), str(seconds), str(gpus)])


def lines(root: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(root.glob("*.log")) for line in path.read_text().splitlines()]


def log_of(root: Path, process: subprocess.Popen[bytes], within_s: float = 30) -> Path:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for path in root.glob(f"*-{process.pid}.log"):
            if path.read_text():
                return path
        time.sleep(0.02)
    raise AssertionError(f"process {process.pid} never got a device")


def spans(root: Path) -> dict[str, list[tuple[float, float]]]:
    """When each device was held: from the log, where a killed worker has no end."""
    found: dict[str, list[tuple[float, float]]] = {"0": [], "1": []}
    for path in root.glob("*.log"):
        said = [json.loads(line) for line in path.read_text().splitlines()]
        end = next((entry["to"] for entry in said if "to" in entry), None)
        for device in said[0]["devices"]:
            found[device].append((said[0]["from"], end or said[0]["from"]))
    return found


@pytest.mark.slow
def test_eight_trials_on_two_gpus_never_share_one_also_when_three_are_killed(tmp_path):
    trials = [worker(tmp_path, f"trial{number}", 1, 0.4) for number in range(8)]
    victims = trials[:3]
    for victim in victims:
        log_of(tmp_path, victim)  # it holds a device
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    retried = [worker(tmp_path, "retry", 1, 0.4) for _ in victims]
    assert [process.wait(timeout=60) for process in trials[3:] + retried] == [0] * 8
    assert not [entry for entry in lines(tmp_path) if "collision" in entry]
    used = spans(tmp_path)
    assert sum(map(len, used.values())) == 11
    assert all(used.values()), "one device was never used"
    for held in used.values():
        held.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(held))


@pytest.mark.slow
def test_tasks_that_want_both_gpus_and_tasks_that_want_one_all_get_their_turn(tmp_path):
    tasks = [worker(tmp_path, f"task{number}", 1 + number % 2, 0.1) for number in range(8)]
    assert [process.wait(timeout=60) for process in tasks] == [0] * 8
    assert not [entry for entry in lines(tmp_path) if "collision" in entry]


def test_a_lease_gives_each_task_another_device_and_says_how_to_use_it(workspace):
    said: list[str] = []
    with leased(workspace, TWO) as first, leased(workspace, TWO) as second:
        assert {first.devices[0].id, second.devices[0].id} == {"0", "1"}
        assert first.environment()["CUDA_VISIBLE_DEVICES"] == "0"
        assert second.docker_device_ids == ["1"]
        with pytest.raises(LockHeldError, match=r"gpu-0, gpu-1.*in use"), leased(workspace, TWO, 1, 0, said.append):
            pass
    with leased(workspace, TWO, 2) as both:
        assert both.environment()["CUDA_VISIBLE_DEVICES"] == "0,1"
    with leased(workspace, [Device("cpu", "0")]) as slot:
        assert (slot.environment()["CUDA_VISIBLE_DEVICES"], slot.docker_device_ids) == ("-1", [])


def test_who_waits_is_told_and_more_devices_than_there_are_is_an_error(workspace):
    said: list[str] = []
    with leased(workspace, TWO, 2), pytest.raises(LockHeldError), leased(workspace, TWO, 1, 0.3, said.append):
        pass
    assert said == ["waiting for a free device of gpu-0, gpu-1"]
    with pytest.raises(ConfigurationError, match=r"3 devices.*training.gpus.*there are 2"), leased(workspace, TWO, 3):
        pass


JOIN = """
import sys, time
from pathlib import Path
from satseg.storage.layout import Workspace
from satseg.storage.leases import joined
with joined(Workspace(Path(sys.argv[1])), sys.argv[2]):
    print("joined", flush=True)
    time.sleep(60)
"""


def test_a_device_stays_taken_while_the_stage_lives_though_its_operator_is_gone(workspace):
    only = TWO[:1]
    with leased(workspace, only) as lease:
        value = lease.environment()["SATSEG_LEASE"]
        stage = subprocess.Popen(
            [sys.executable, "-c", JOIN, str(workspace.root), value], stdout=subprocess.PIPE, text=True
        )
        assert stage.stdout is not None
        assert stage.stdout.readline() == "joined\n"
    with pytest.raises(LockHeldError), leased(workspace, only, 1, 0):
        pass
    stage.kill()
    stage.communicate()
    lost = pytest.raises(LockHeldError, match="lease of gpu-0 was lost")
    with leased(workspace, only, 1, 5), lost, joined(workspace, value):
        pass


def test_devices_are_cpu_slots_without_gpus_and_what_the_settings_say(monkeypatch):
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: ())
    assert machine.devices() == [Device("cpu", "0")]
    monkeypatch.setenv("SATSEG_GPU_COUNT", "2")
    settings.cache_clear()
    assert machine.devices() == TWO


def test_gpus_are_called_by_the_uuid_the_driver_reports(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-aa-1\necho GPU-bb-2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert [device.name for device in machine.devices()] == ["gpu-aa-1", "gpu-bb-2"]
    monkeypatch.setenv("SATSEG_GPU_COUNT", "1")
    settings.cache_clear()
    assert [device.id for device in machine.devices()] == ["GPU-aa-1"]
    monkeypatch.setenv("SATSEG_GPU_COUNT", "3")
    settings.cache_clear()
    with pytest.raises(ConfigurationError, match="SATSEG_GPU_COUNT is 3, but this machine has 2"):
        machine.devices()


def test_gpus_are_found_in_the_drivers_files_when_the_program_is_missing(monkeypatch, tmp_path):
    folder = tmp_path / "0000:01:00.0"
    folder.mkdir()
    (folder / "information").write_text("Model: \t\t A100\nGPU UUID: \t GPU-cc-3\n")
    monkeypatch.setattr(machine, "_DRIVER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_gpus() == ("GPU-cc-3",)


def test_workspaces_can_share_their_leases(monkeypatch, tmp_path):
    monkeypatch.setenv("SATSEG_LEASE_DIR", str(tmp_path / "leases"))
    settings.cache_clear()
    here, there = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    with leased(here, TWO[:1]), pytest.raises(LockHeldError), leased(there, TWO[:1], 1, 0):
        pass


def test_a_device_is_leased_as_long_as_its_task_lives_and_asking_takes_nothing(workspace):
    device = TWO[0]
    assert not is_leased(workspace, device)
    with leased(workspace, [device]) as lease:
        assert is_leased(workspace, device)
        with joined(workspace, lease.environment()["SATSEG_LEASE"]):
            assert is_leased(workspace, device)
    assert not is_leased(workspace, device)
    with leased(workspace, [device], timeout_s=1):
        assert is_leased(workspace, device)
