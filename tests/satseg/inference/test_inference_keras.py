from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from satseg.config.project import ProjectConfig
from satseg.inference import predict
from satseg.inference.chosen_model import ChosenModel
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, ModelDescription
from satseg.stages import PredictSpec
from satseg.storage.layout import Workspace


@pytest.mark.slow
def test_a_real_keras_file_predicts_a_scene(  # noqa: PLR0917 - pytest passes keywords
    description: ModelDescription,
    project: ProjectConfig,
    workspace: Workspace,
    write_scene: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from satseg.models.keras.runtime import keras

    pixels = keras.Input((None, None, 3))
    grey = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 3))(pixels)
    keras.Model(pixels, keras.layers.Rescaling(1 / 255)(grey)).save(tmp_path / MODEL_FILE)
    (tmp_path / DESCRIPTION_FILE).write_text(description.model_dump_json())
    chosen = ChosenModel("v3", "3", "ab" * 16, None, tmp_path, description)
    monkeypatch.setattr(predict, "choose_model", lambda *arguments: chosen)
    result = predict.run(PredictSpec(project=project, scenes=[str(write_scene())]), workspace)
    assert result.predictions[0].objects == 2
    with rasterio.open(result.predictions[0].probability) as probability:
        levels = probability.read(1)
    assert set(np.unique(levels)) == {40, 219}
