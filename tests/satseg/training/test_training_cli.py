import os

import pytest

from satseg.cli.app import main
from satseg.cli.device import device_for
from satseg.cli.training import absolute, starting_overrides
from satseg.config.project import parse_project
from satseg.config.settings import settings
from satseg.errors import ConfigurationError, LockHeldError
from satseg.stages import IngestSpec, TrainSpec, TuneSpec
from satseg.storage.devices import Device
from satseg.storage.leases import leased


@pytest.fixture
def set_up(monkeypatch, workspace):
    """Return a function that sets SATSEG_* variables for this test."""

    def apply(**values):
        for name, value in {"WORKSPACE": str(workspace.root), **values}.items():
            monkeypatch.setenv(f"SATSEG_{name}", value)
        settings.cache_clear()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "untouched")
    apply()
    yield apply
    monkeypatch.undo()
    settings.cache_clear()


def project(*overrides):
    return parse_project("name: roads\nclasses: [road]\n", "roads.yaml", overrides)


@pytest.mark.parametrize(
    ("given", "effective"),
    [
        (["training.epochs=3"], ["retraining.epochs=3"]),
        (["training.epochs=3", "retraining.epochs=4"], []),
        (["training.learning_rate = 0.1"], ["retraining.learning_rate= 0.1"]),
        (["training.seed=3"], []),
    ],
)
def test_explicit_epochs_and_rate_hold_also_when_starting_from_a_model(given, effective):
    assert starting_overrides(given, "champion") == given + effective
    assert starting_overrides(given, None) == given


def test_a_path_to_a_model_holds_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "champion").mkdir()  # a folder of that name is not what is meant
    assert absolute("champion") == "champion"
    assert absolute("models:/roads/3") == "models:/roads/3"
    assert absolute("./model") == str(tmp_path / "model")
    assert absolute(None) is None


def test_resume_takes_no_other_options_and_says_when_there_is_nothing(set_up, tmp_path, capsys):
    file = tmp_path / "roads.yaml"
    file.write_text("name: roads\nclasses: [road]\n")
    assert main(["train", "-p", str(file), "--resume", "--set", "training.epochs=3"]) == 2
    assert "--resume takes the options the interrupted training had" in capsys.readouterr().err
    assert main(["train", "-p", str(file), "--resume"]) == 2
    assert "No interrupted training of project 'roads'" in capsys.readouterr().err


def test_unknown_architecture_and_loss_name_the_choices(set_up, tmp_path, capsys):
    file = tmp_path / "roads.yaml"
    file.write_text("name: roads\nclasses: [road]\n")
    for setting, words in (
        ("architecture=segnet", "'linknet', 'unet' or 'manet'"),
        ("loss=hinge", "'dice_bce', 'dice'"),
    ):
        assert main(["train", "-p", str(file), "--set", f"training.{setting}"]) == 2
        assert words in capsys.readouterr().err


def test_a_training_in_a_shell_takes_as_many_gpus_as_it_asks_for(set_up, workspace):
    set_up(GPU_COUNT="2")
    with device_for(TrainSpec(project=project()), workspace):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    with device_for(TrainSpec(project=project("training.gpus=2")), workspace):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "untouched"
    too_many = TrainSpec(project=project("training.gpus=3"))
    with pytest.raises(ConfigurationError, match="3 devices"), device_for(too_many, workspace):
        pass


def test_stages_without_a_model_and_machines_without_a_gpu_take_none(set_up, workspace):
    set_up(GPU_COUNT="1")
    with leased(workspace, [Device("gpu", "0")]):
        for spec in (IngestSpec(project=project()), TuneSpec(project=project())):
            with device_for(spec, workspace):
                pass
        set_up(GPU_COUNT="0")
        with device_for(TrainSpec(project=project()), workspace):
            pass
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "untouched"


def test_a_stage_works_on_what_its_operator_leased(set_up, workspace):
    device = Device("gpu", "0")
    set_up(GPU_COUNT="1")
    with leased(workspace, [device]) as lease:
        set_up(LEASE=lease.environment()["SATSEG_LEASE"])
        with device_for(TrainSpec(project=project()), workspace):
            pass
    lost = pytest.raises(LockHeldError, match="gpu-0 was lost")
    with leased(workspace, [device]), lost, device_for(TrainSpec(project=project()), workspace):
        pass
