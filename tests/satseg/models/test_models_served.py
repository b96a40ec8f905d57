"""A trained model through MLflow: saved, loaded and served elsewhere, bit by bit the same."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_descriptions import describe
from satseg.config.training import TrainingConfig
from satseg.storage.atomic import write_json
from satseg.tracking.models import model_folder, resolve_model
from satseg.tracking.runs import tracked_run

pytestmark = pytest.mark.slow

CASES = {
    "linknet": ("resnet18", "uint8", ("building",), ("red", "green", "blue")),
    "unet": ("mobilenet", "uint16", ("road", "water"), ("red", "green", "blue", "nir")),
    "manet": ("mobilenet", "float32", ("road", "water"), ("red", "green", "blue", "nir", "height")),
}


def trained(architecture):
    """A network whose batch normalisations have seen data, and its description."""
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(3)
    backbone, dtype, classes, bands = CASES[architecture]
    description = describe(
        project="p",
        architecture=architecture,
        backbone=backbone,
        bands=bands,
        dtype=dtype,
        classes=classes,
        gsd_m=None,
        mean=(100.0,) * len(bands),
        std=(50.0,) * len(bands),
        patch_set="x",
    )
    config = TrainingConfig(architecture=architecture, backbone=backbone)
    network = build_network(config, len(bands), description.channels, description.mean, description.std)
    network(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, len(bands))).astype(np.float32), training=True)
    return network, description


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """For each architecture: what the network in memory predicts, and its folder in MLflow."""
    from satseg.models.keras.load import KerasSegmenter
    from satseg.storage.layout import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("served") / "workspace")
    found = {}
    for architecture, (_, dtype, _, bands) in CASES.items():
        network, description = trained(architecture)
        folder = tmp_path_factory.mktemp(architecture)
        network.save(folder / "model.keras")
        write_json(folder / "model.json", description.model_dump(mode="json"))
        pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 96, len(bands))).astype(dtype)
        with tracked_run(workspace, "p", name=architecture, tags={}, params={}) as run:
            run.log_model_files(folder, description.model_dump(mode="json"), pixels[:1, :64, :64])
        kept = model_folder(workspace, resolve_model(workspace, "p", run.id))
        found[architecture] = (pixels, KerasSegmenter(network, description).predict(pixels), kept)
    return found


def test_save_load_predict_is_bit_identical(stored):
    from satseg.models.keras.load import load_segmenter

    for architecture, (pixels, expected, folder) in stored.items():
        assert np.array_equal(load_segmenter(folder).predict(pixels), expected), architecture
        assert expected.std() > 1e-4


def test_a_process_without_satseg_predicts_the_same(stored, tmp_path):
    models, inputs = [], {}
    for architecture, (pixels, _, folder) in stored.items():
        models.append(shutil.copytree(folder.parent, tmp_path / architecture))
        inputs[architecture] = pixels
    np.savez(tmp_path / "pixels.npz", **inputs)
    child = [sys.executable, Path(__file__).with_name("served_child.py"), tmp_path / "pixels.npz"]
    ended = subprocess.run([*child, tmp_path / "result.npz", *models], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "result.npz") as result:
        for architecture, (_, expected, _) in stored.items():
            assert np.array_equal(result[architecture], expected), architecture


def test_the_stored_model_declares_what_it_needs_and_takes(stored):
    import mlflow

    for architecture, (_, dtype, classes, bands) in CASES.items():
        folder = stored[architecture][2].parent
        about = mlflow.models.get_model_info(str(folder))
        (taken,), (given,) = about.signature.inputs.to_dict(), about.signature.outputs.to_dict()
        assert taken["tensor-spec"] == {"dtype": dtype, "shape": (-1, -1, -1, len(bands))}
        channels = 1 if len(classes) == 1 else len(classes) + 1
        assert given["tensor-spec"] == {"dtype": "float32", "shape": (-1, -1, -1, channels)}
        assert mlflow.models.Model.load(str(folder)).load_input_example(str(folder)).shape == (1, 64, 64, len(bands))
        needed = {line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()}
        assert {"mlflow", "tensorflow", "tf-keras", "numpy"} == needed


def test_wrong_input_is_named_and_nan_counts_as_average(stored):
    import mlflow

    pixels, expected, folder = stored["manet"]
    model = mlflow.pyfunc.load_model(str(folder.parent))
    with pytest.raises(ValueError, match=r"multiples of 32.*red, green, blue, nir, height.*\(1, 40, 64, 5\)"):
        model.predict(pixels[:1, :40, :64])
    holes, filled = pixels.copy(), pixels.copy()
    holes[:, :8], filled[:, :8] = np.nan, 100.0
    assert np.array_equal(model.predict(holes), model.predict(filled))
    assert not np.array_equal(model.predict(holes), expected)
