"""A model is made again from what is recorded of it, and its weights are compared."""

import io
import json
import shutil
from dataclasses import replace
from zipfile import ZipFile

import h5py
import numpy as np
import pytest

from satseg.cli import app as cli
from satseg.config.settings import settings
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.lineage import reproduce
from satseg.lineage.weights import compare_weights
from satseg.stages import ReproduceSpec
from satseg.storage.layout import Workspace

PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: mobilenet, epochs: 1, steps_per_epoch: 2, batch_size: 2}
retraining: {epochs: 1}
"""


def keras_file(path, arrays):
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    with ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def test_weights_are_compared_bit_by_bit(tmp_path):
    first = {"layers/conv/0": np.arange(6, dtype=np.float32).reshape(2, 3), "layers/bias/0": np.zeros(3, np.float32)}
    nudged = first | {"layers/conv/0": first["layers/conv/0"] + np.float32(1e-3)}
    a, same, b = (keras_file(tmp_path / f"{n}.keras", arrays) for n, arrays in enumerate((first, first, nudged)))
    assert compare_weights(a, same) == (9, 0.0)
    count, difference = compare_weights(a, b)
    assert (count, difference) == (9, pytest.approx(1e-3, rel=0.01))


@pytest.mark.parametrize("other", [np.array([np.nan], np.float32), np.array([-0.0], np.float32)])
def test_other_bits_are_another_weight_though_no_number_differs(tmp_path, other):
    a = keras_file(tmp_path / "a.keras", {"w": np.zeros(1, np.float32)})
    assert compare_weights(a, keras_file(tmp_path / "b.keras", {"w": other}))[1] > 0


def test_other_networks_and_other_files_are_refused(tmp_path):
    a = keras_file(tmp_path / "a.keras", {"w": np.zeros(2, np.float32)})
    with pytest.raises(BadDataError, match="not of the same network"):
        compare_weights(a, keras_file(tmp_path / "b.keras", {"w": np.zeros(3, np.float32)}))
    (tmp_path / "c.keras").write_text("no archive")
    with pytest.raises(BadDataError, match=r"c\.keras is no Keras model"):
        compare_weights(a, tmp_path / "c.keras")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with a model trained on made-up scenes by the program itself, and what training said."""
    folder = tmp_path_factory.mktemp("reproduce")
    (folder / "tiny.yaml").write_text(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SATSEG_WORKSPACE", str(folder / "workspace"))
        patch.chdir(folder)
        settings.cache_clear()
        results = {}
        for name, words in (
            ("scenes", ["demo-scenes", "scenes", "--count", "3", "--size", "256"]),
            ("ingest", ["ingest", "scenes", "--project", "tiny.yaml", "--result", "ingest.json"]),
            ("patch", ["patch", "--project", "tiny.yaml", "--result", "patch.json"]),
            ("train", ["train", "--project", "tiny.yaml", "--result", "train.json"]),
        ):
            assert cli.main(words) == 0, name
            result = folder / f"{name}.json"
            results[name] = json.loads(result.read_text()) if result.is_file() else None
        yield folder, results
    settings.cache_clear()


@pytest.mark.slow
def test_model_made_again_has_identical_patches_and_weights(trained, capsys):
    folder, results = trained
    run_id = results["train"]["run_id"]
    code = cli.main(["reproduce", run_id[:10], "--project", "tiny.yaml", "--result", str(folder / "again.json")])
    assert code == 0
    again = json.loads((folder / "again.json").read_text())
    assert (again["identical"], again["max_difference"], again["patches_identical"]) == (True, 0.0, True)
    assert again["weights"] > 100_000
    assert (again["run_id"], again["patch_set"]) == (run_id, results["patch"]["patch_set"])
    assert again["val_iou"] == results["train"]["val_iou"]
    assert "weights are identical" in capsys.readouterr().out
    assert list((folder / "workspace" / "reproduce").iterdir()) == []
    runs = [path for path in (folder / "workspace" / "runs").iterdir() if path.is_dir()]
    assert len(runs) == 1  # the original training alone; the other one had a workspace of its own


@pytest.mark.slow
def test_run_that_does_not_say_what_it_was_made_from_cannot_be_made_again(trained, monkeypatch):
    folder, results = trained
    workspace = Workspace(folder / "workspace")
    record = reproduce.get_run(workspace, results["train"]["run_id"])
    project = reproduce.recorded_project(workspace, record)
    assert project.training.steps_per_epoch == 2  # as it was resolved then
    spec = ReproduceSpec(project=project, version=record.id)
    untagged = replace(record, tags={name: value for name, value in record.tags.items() if "patch_set" not in name})
    monkeypatch.setattr(reproduce, "get_run", lambda *args: untagged)
    with pytest.raises(NotFoundError, match=r"does not say its satseg\.patch_set"):
        reproduce.run(spec, workspace)
    from_file = replace(record, tags=record.tags | {"satseg.init_from": "file:abc"})
    with pytest.raises(NotFoundError, match="SHA-256 abc; give it with --init-from FILE"):
        reproduce._starting_file(workspace, from_file, None)
    monkeypatch.setattr(reproduce, "read_artifact", lambda *args: "name: tiny\nno_such_key: 1\n")
    with pytest.raises(ConfigurationError, match="is not understood by this satseg"):
        reproduce.recorded_project(workspace, record)
    shutil.rmtree(folder / "workspace" / "reproduce")
