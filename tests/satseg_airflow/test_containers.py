"""What the container of a stage gets, and what its end means; the engine itself is under test in tests/docker."""

import fcntl
import signal
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound

from satseg.config.settings import Settings, settings
from satseg.errors import ConfigurationError, TemporaryError
from satseg.stages import STAGES
from satseg.storage.devices import Device
from satseg.storage.leases import Lease
from satseg_airflow.containers.engine import connect, explained
from satseg_airflow.containers.life import alive, is_alive
from satseg_airflow.containers.memory import memory_advice
from satseg_airflow.containers.place import Place, place_of
from satseg_airflow.containers.runner import _end
from satseg_airflow.runners import Job, TaskKey, runner_for

TASK = TaskKey("tiny.model_training", "manual__1", "train", -1)


@pytest.fixture
def where(tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives the settings of an environment."""
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(tmp_path / "projects"))

    def make(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        return settings()

    return make


def job(tmp_path: Path, stage: str = "train", lease: Lease | None = None) -> Job:
    return Job(stage, [stage], tmp_path / "scratch", TASK, lease)


def mounts(place: Place) -> dict[str, tuple[Any, ...]]:
    return {one["Target"]: (one["Source"], one["Type"], one["ReadOnly"]) for one in place.mounts}


def test_workspace_and_projects_are_mounted_at_the_paths_they_have_here(where, tmp_path, workspace) -> None:
    assert mounts(place_of(job(tmp_path), where())) == {
        str(workspace): (str(workspace), "bind", False),
        str(tmp_path / "projects"): (str(tmp_path / "projects"), "bind", True),
    }


def test_airflows_secrets_are_hidden_from_stages(where, tmp_path, workspace) -> None:
    (workspace / "airflow").mkdir(parents=True)
    assert mounts(place_of(job(tmp_path), where()))[str(workspace / "airflow")] == (None, "tmpfs", False)


def test_engine_elsewhere_mounts_its_own_folder_or_volume(where, tmp_path, workspace) -> None:
    placed = place_of(job(tmp_path), where(SATSEG_DOCKER_WORKSPACE="/srv/satseg"))
    assert mounts(placed) == {str(workspace): ("/srv/satseg", "bind", False)}  # the projects are in its image
    placed = place_of(
        job(tmp_path), where(SATSEG_DOCKER_WORKSPACE="satseg-data", SATSEG_DOCKER_PROJECTS="/srv/projects")
    )
    assert mounts(placed)[str(workspace)] == ("satseg-data", "volume", False)
    assert mounts(placed)[str(tmp_path / "projects")] == ("/srv/projects", "bind", True)


def test_folders_that_settings_name_are_mounted_too(where, tmp_path) -> None:
    remote, asked = tmp_path / "remote", "/data:/data:ro, /srv/labels:/labels"
    found = mounts(place_of(job(tmp_path), where(SATSEG_DVC_REMOTE=str(remote), SATSEG_DOCKER_MOUNTS=asked)))
    assert found[str(remote)] == (str(remote), "bind", False)
    assert found["/data"] == ("/data", "bind", True)
    assert found["/labels"] == ("/srv/labels", "bind", False)


@pytest.mark.parametrize("words", ["/data", "/data:labels", "/data:/data:rx", ":/data"])
def test_mount_that_is_none_is_refused_with_its_words(where, tmp_path, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"SATSEG_DOCKER_MOUNTS has '{words}'.*SOURCE:TARGET"):
        place_of(job(tmp_path), where(SATSEG_DOCKER_MOUNTS=words))


def test_stages_get_the_settings_and_keys_they_need_and_no_others(where, tmp_path, workspace, monkeypatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "MY_LICENCE", "AIRFLOW__CORE__FERNET_KEY", "OTHER"):
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/here.pem")
    seen = place_of(
        job(tmp_path),
        where(
            SATSEG_MLFLOW_URI="http://mlflow:5000",
            SATSEG_SERVE_KEYS="a key of the service",
            SATSEG_GPU_COUNT="2",
            SATSEG_DOCKER_ENVIRONMENT="MY_LICENCE, NOT_SET",
        ),
    ).environment
    assert seen["SATSEG_MLFLOW_URI"] == "http://mlflow:5000"
    assert seen["SATSEG_WORKSPACE"] == str(workspace)
    assert {"AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "MY_LICENCE"} <= set(seen)
    hidden = {"AIRFLOW__CORE__FERNET_KEY", "AWS_CA_BUNDLE", "OTHER", "SATSEG_SERVE_KEYS", "SATSEG_GPU_COUNT"}
    assert not hidden & set(seen)
    assert seen["TMPDIR"] == seen["HOME"] == str(tmp_path / "scratch")


def test_leased_gpus_are_asked_of_the_engine_and_not_numbered_again(where, tmp_path) -> None:
    lease = Lease((Device("gpu", "GPU-1a"), Device("gpu", "GPU-2b")), "token")
    placed = place_of(job(tmp_path, lease=lease), where(SATSEG_DOCKER_GPU_IMAGE="gpu:1", SATSEG_DOCKER_IMAGE="cpu:1"))
    assert placed.image == "gpu:1"
    assert placed.devices[0]["DeviceIDs"] == ["GPU-1a", "GPU-2b"]
    assert placed.devices[0]["Capabilities"] == [["gpu"]]
    assert "CUDA_VISIBLE_DEVICES" not in placed.environment
    assert placed.environment["SATSEG_LEASE"].startswith("token:")


def test_a_processor_slot_hides_gpus_and_takes_the_plain_image(where, tmp_path) -> None:
    placed = place_of(job(tmp_path, lease=Lease((Device("cpu", "0"),), "token")), where(SATSEG_DOCKER_IMAGE="cpu:1"))
    assert (placed.image, placed.devices) == ("cpu:1", [])
    assert placed.environment["CUDA_VISIBLE_DEVICES"] == "-1"


def test_limits_hold_for_all_stages_unless_one_has_its_own(where, tmp_path) -> None:
    given = where(
        SATSEG_DOCKER_MEMORY="2G",
        SATSEG_DOCKER_CPUS="1.5",
        SATSEG_DOCKER_STAGES='{"train": {"memory": "3g", "image": "mine:1"}}',
    )
    train, ingest = place_of(job(tmp_path), given), place_of(job(tmp_path, "ingest"), given)
    assert (train.memory_bytes, train.cpus, train.image) == (3 * 2**30, 1.5, "mine:1")
    assert (ingest.memory_bytes, ingest.cpus) == (2 * 2**30, 1.5)
    assert ingest.image.startswith("satseg/satseg:")


def test_unknown_stage_and_broken_json_are_named(where, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"stage 'trian'.*Did you mean 'train'"):
        place_of(job(tmp_path), where(SATSEG_DOCKER_STAGES='{"trian": {"memory": "3g"}}'))
    with pytest.raises(ConfigurationError, match=r"docker_stages.*JSON"):
        where(SATSEG_DOCKER_STAGES="{train: 3g}")
    with pytest.raises(ConfigurationError, match=r"SATSEG_DOCKER_STAGES train memory.*'3 apples'"):
        where(SATSEG_DOCKER_STAGES='{"train": {"memory": "3 apples"}}')


PLACE = Place("image", [], {}, "0:0", 2 * 2**30, None, 0, [])


@pytest.mark.parametrize("code", [0, 2, 3, 4, 75])
def test_exit_codes_of_stages_stay_what_they_are(code: int) -> None:
    end = _end({"ExitCode": code, "OOMKilled": False}, "train", PLACE)
    assert (end.code, end.out_of_memory) == (code, None)


def test_killed_container_is_told_from_one_that_met_its_memory_limit() -> None:
    killed = _end({"ExitCode": 137, "OOMKilled": False}, "train", PLACE)
    assert (killed.code, killed.out_of_memory) == (-signal.SIGKILL, None)
    met = _end({"ExitCode": 137, "OOMKilled": True}, "train", PLACE)
    assert "2,048 MiB (SATSEG_DOCKER_MEMORY" in str(met.out_of_memory)
    assert "lower training.batch_size" in str(met.out_of_memory)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_advice(stage: str) -> None:
    assert memory_advice(stage, 2**30).startswith("Its container may use 1,024 MiB")


def test_refusals_of_the_engine_say_what_to_do() -> None:
    def refused(error: Exception) -> Exception:
        with pytest.raises((ConfigurationError, TemporaryError)) as raised, explained("unix:///x", "satseg/satseg:9"):
            raise error
        return raised.value

    gone = refused(ImageNotFound("no such image"))
    assert isinstance(gone, ConfigurationError)
    assert "satseg/satseg:9" in str(gone)
    assert "make images" in str(gone)
    assert "container toolkit" in str(refused(APIError('could not select device driver "" with capabilities: [[gpu]]')))
    assert "SATSEG_DOCKER_WORKSPACE" in str(refused(APIError("bind source path does not exist: /x")))
    assert isinstance(refused(APIError("server misbehaving")), TemporaryError)


def test_engine_that_is_not_there_is_temporary_trouble(tmp_path) -> None:
    with pytest.raises(TemporaryError, match=r"does not answer.*SATSEG_DOCKER_URL"):
        connect(f"unix://{tmp_path}/none.sock")


def test_workers_lock_tells_whether_it_lives(tmp_path) -> None:
    assert not is_alive(tmp_path)
    with alive(tmp_path):
        assert is_alive(tmp_path)
    assert not is_alive(tmp_path)
    with (tmp_path / "alive.lock").open("r+") as other:  # a cleaner's own look does not count as life
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_alive(tmp_path)


def test_setting_chooses_the_runner() -> None:
    assert type(runner_for("docker")).__name__ == "DockerRunner"
    assert type(runner_for("subprocess")).__name__ == "SubprocessRunner"
