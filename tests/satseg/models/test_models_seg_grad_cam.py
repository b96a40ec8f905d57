"""Seg-Grad-CAM against the formula written out for a network whose gradient is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_descriptions import describe
from satseg.errors import ConfigurationError
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE


def saved(folder: Path, classes: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Save maps A = ReLU(conv of stride 2), logits = upsampled A times w; return the convolution's and w."""
    from satseg.models.keras.runtime import keras

    rng = np.random.default_rng(0)
    channels = 1 if len(classes) == 1 else len(classes) + 1
    kernel = rng.normal(0, 0.1, (2, 2, 3, 5)).astype(np.float32)
    heads = rng.normal(0, 0.1, (1, 1, 5, channels)).astype(np.float32)
    pixels = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(5, 2, strides=2, activation="relu", use_bias=False, name="maps")(pixels)
    upper = keras.layers.UpSampling2D(2, name="decoder_up")(maps)
    logits = keras.layers.Conv2D(channels, 1, use_bias=False, name="final_conv")(upper)
    network = keras.Model(pixels, keras.layers.Activation("sigmoid" if channels == 1 else "softmax")(logits))
    network.get_layer("maps").set_weights([kernel])
    network.get_layer("final_conv").set_weights([heads])
    network.save(folder / MODEL_FILE)
    description = describe(
        project="town", classes=classes, patch_px=32, gsd_m=None, mean=(0.0,) * 3, std=(1.0,) * 3, patch_set="p1"
    )
    (folder / DESCRIPTION_FILE).write_text(description.model_dump_json())
    return kernel, heads[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "class_id"), [(("roof",), 1), (("roof", "road"), 2)])
def test_maps_are_those_of_the_paper(tmp_path: Path, classes: tuple[str, ...], class_id: int) -> None:
    from satseg.models.keras.seg_grad_cam import KerasExplainer

    kernel, heads = saved(tmp_path, classes)
    images = np.random.default_rng(1).integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)
    cells = images.reshape(2, 16, 2, 16, 2, 3).astype(np.float64)
    features = np.maximum(np.einsum("nyixjc,ijck->nyxk", cells, kernel), 0)
    logits = np.einsum("nyxk,kc->nyxc", features, heads).repeat(2, axis=1).repeat(2, axis=2)
    channel = 0 if len(classes) == 1 else class_id
    mapped = logits[..., 0] >= 0 if len(classes) == 1 else logits.argmax(axis=-1) == channel
    assert 0 < mapped.mean() < 1
    in_cell = mapped.reshape(2, 16, 2, 16, 2).sum(axis=(2, 4))  # each stands for d(sum of logits)/dA = w · pixels
    weights = heads[:, channel] * in_cell.mean(axis=(1, 2))[:, None]
    expected = np.maximum(np.einsum("nyxk,nk->nyx", features, weights), 0)

    explainer = KerasExplainer(tmp_path, class_id, threshold=0.5, stride=2)
    probabilities, maps = explainer.explain(images)
    assert probabilities.shape == (2, 32, 32, heads.shape[1])
    np.testing.assert_allclose(explainer.predict(images), probabilities, rtol=1e-5, atol=1e-6)
    assert maps.max(axis=(1, 2)).tolist() == pytest.approx([1, 1])
    # bilinear enlargement keeps the mean of each 2 × 2 cell's neighbourhood: compare on the cells' own grid
    import cv2

    enlarged = np.stack([cv2.resize(one, (32, 32), interpolation=cv2.INTER_LINEAR) for one in expected])
    enlarged /= enlarged.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps, enlarged, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_window_without_the_class_has_no_map_and_a_missing_stride_is_named(tmp_path: Path) -> None:
    from satseg.models.keras.seg_grad_cam import KerasExplainer

    saved(tmp_path, ("roof",))
    images = np.zeros((1, 32, 32, 3), np.uint8)
    assert not KerasExplainer(tmp_path, 1, threshold=0.6, stride=2).explain(images)[1].any()
    with pytest.raises(ConfigurationError, match=r"no maps of stride 16; it has \[1?.*2\]"):
        KerasExplainer(tmp_path, 1, threshold=0.5, stride=16)
