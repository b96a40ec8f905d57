"""The champion's encoder on patches; TensorFlow, so all of it is slow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_descriptions import describe
from satseg.drift.embeddings import embedding_columns, with_embeddings
from satseg.errors import ConfigurationError
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from satseg.config.training import TrainingConfig
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("model")
    config = TrainingConfig(architecture="linknet", backbone="resnet18")
    build_network(config, 3, 1, (100.0,) * 3, (50.0,) * 3).save(folder / MODEL_FILE)
    description = describe(
        project="town", backbone="resnet18", patch_px=32, gsd_m=0.15, mean=(100.0,) * 3, std=(50.0,) * 3, patch_set="p1"
    )
    (folder / DESCRIPTION_FILE).write_text(description.model_dump_json())
    return folder


@pytest.mark.slow
def test_patches_are_seen_as_the_deepest_features_averaged(world, model: Path) -> None:
    from satseg.models.keras.architectures import encoder_layers
    from satseg.models.keras.load import load_network
    from satseg.models.keras.runtime import keras

    pixels = world.town(0)
    world.add("north", pixels)
    record = world.versions["v2"][-1]
    rows = pd.DataFrame({"scene": "north", "checksum": record.checksum, "row": [0, 64], "col": [32, 192]})
    found = with_embeddings(rows, {record.checksum: record}, model, 64)
    values = found[embedding_columns(found)].to_numpy()
    assert values.shape == (2, 512)  # resnet18 ends with 512 channels at a 32nd of the size
    network = load_network(model)
    deepest = encoder_layers(network)[-1].output
    patches = np.stack([pixels[0:64, 32:96], pixels[64:128, 192:256]]).astype(np.float32)
    features = keras.Model(network.input, deepest)(patches, training=False).numpy()
    assert features.shape[1:3] == (2, 2)
    np.testing.assert_allclose(values, features.mean(axis=(1, 2)), rtol=1e-3, atol=1e-4)
    assert not np.allclose(values[0], values[1])


def test_patches_that_do_not_fit_the_encoder_are_refused_before_tensorflow_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"drift.patch_px is 80.*multiple of 32"):
        with_embeddings(pd.DataFrame(), {}, tmp_path, 80)
