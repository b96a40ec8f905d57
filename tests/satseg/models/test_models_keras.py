import h5py
import numpy as np
import pytest

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError
from satseg.models.interface import ModelDescription
from satseg.storage.atomic import write_json

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)


def reference_dice(truth, probabilities):
    channels = range(1) if probabilities.shape[-1] == 1 else range(1, probabilities.shape[-1])
    losses = []
    for channel in channels:
        target = truth == (1 if probabilities.shape[-1] == 1 else channel)
        p = probabilities[..., channel].astype(np.float64)
        losses.append(1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1))
    return np.mean(losses)


def reference_cross_entropy(truth, probabilities):
    p = probabilities.astype(np.float64)
    if p.shape[-1] == 1:
        return -np.mean(np.log(np.where(truth == 1, p[..., 0], 1 - p[..., 0])))
    return -np.mean(np.log(np.take_along_axis(p, truth[..., None].astype(int), axis=-1)))


def random_batch(channels):
    truth = RNG.integers(0, max(2, channels), (3, 16, 16)).astype(np.uint8)
    raw = RNG.uniform(0.01, 0.99, (3, 16, 16, channels)).astype(np.float32)
    return truth, raw if channels == 1 else raw / raw.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("channels", [1, 4])
def test_losses_equal_numpy(channels):
    from satseg.models.keras.losses import LOSSES

    truth, probabilities = random_batch(channels)
    dice, entropy = reference_dice(truth, probabilities), reference_cross_entropy(truth, probabilities)
    assert float(LOSSES["dice"](truth, probabilities)) == pytest.approx(dice, abs=1e-6)
    assert float(LOSSES["bce"](truth, probabilities)) == pytest.approx(entropy, abs=1e-6)
    assert float(LOSSES["dice_bce"](truth, probabilities)) == pytest.approx(dice + entropy, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_confusion_counts_every_pixel(channels):
    from satseg.models.keras.losses import batch_confusion

    truth, probabilities = random_batch(channels)
    predicted = (probabilities[..., 0] >= 0.5) if channels == 1 else probabilities.argmax(-1)
    expected = np.zeros((max(2, channels),) * 2, int)
    np.add.at(expected, (truth.ravel(), predicted.ravel().astype(int)), 1)
    assert batch_confusion(truth, probabilities).numpy().tolist() == expected.tolist()


def turned(mask, number, *names):
    from satseg.models.keras.augmentation import chances, geometry

    image = np.repeat(mask[..., None], 2, axis=-1).astype(np.float32)
    config = TrainingConfig(augmentations=names)
    new_image, new_mask = geometry(config)(image, mask, chances(np.array([1, number])))
    assert np.array_equal(np.asarray(new_image)[..., 0], np.asarray(new_mask))
    return np.asarray(new_mask).tobytes()


def test_flips_and_quarter_turns_move_image_and_mask_alike_and_reach_all_positions():
    mask = RNG.integers(0, 3, (8, 8)).astype(np.uint8)
    quarter_turns = {np.rot90(mask, turns).tobytes() for turns in range(4)}
    flips = {part.tobytes() for part in (mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1])}
    both = {np.rot90(part, turns).tobytes() for part in (mask, mask[::-1]) for turns in range(4)}
    assert {turned(mask, number, "rotate90") for number in range(40)} == quarter_turns
    assert {turned(mask, number, "flip") for number in range(40)} == flips
    assert {turned(mask, number, "flip", "rotate90") for number in range(80)} == both


def tinted(images, *names, **changes):
    from satseg.models.keras.augmentation import PixelRange, chances, photometry

    config = TrainingConfig(augmentations=names, **changes)
    chance = np.stack([chances(np.array([1, number])).numpy() for number in range(len(images))])
    return photometry(config, PixelRange.of("uint8", (1.0,) * images.shape[-1]))(images, chance), chance


def test_contrast_turns_about_the_mean_brightness_shifts_and_values_stay_in_range():
    images = RNG.uniform(100, 150, (4, 8, 8, 3)).astype(np.float32)
    found, chance = tinted(images, "brightness", "contrast", brightness=0.1, contrast=0.5)
    found = found.numpy()
    for image, new, (contrast, brightness) in zip(images, found, 2 * chance[:, 3:] - 1, strict=True):
        average = image.mean(axis=(0, 1), keepdims=True)
        assert new == pytest.approx(average + (image - average) * (1 + 0.5 * contrast) + 25.5 * brightness, abs=1e-3)
    assert len({float(new.mean()) for new in found}) == 4
    extreme, _ = tinted(np.tile(images, (5, 1, 1, 1)), "brightness", brightness=1.0)
    assert (extreme.numpy().min(), extreme.numpy().max()) == (0, 255)
    assert np.array_equal(tinted(images, "flip")[0], images)


def description(bands, classes):
    return ModelDescription(
        project="p",
        architecture="linknet",
        backbone="efficientnetb0",
        bands=tuple("abcd"[:bands]),
        dtype="uint8",
        classes=classes,
        patch_px=64,
        gsd_m=None,
        mean=(100.0,) * bands,
        std=(50.0,) * bands,
        dataset_version="v1",
        patch_set="x",
    )


def library_network(bands):
    """A small network with every kind of layer that the library's encoders have and other programs cannot load."""
    from classification_models.models._common_blocks import ChannelSE, GroupConv2D
    from efficientnet.model import get_dropout

    from satseg.models.keras.runtime import keras

    library = {"backend": keras.backend, "layers": keras.layers, "models": keras.models, "utils": keras.utils}
    data = keras.Input((None, None, bands))
    x = ChannelSE(reduction=2, **library)(data)
    x = GroupConv2D(bands, (3, 3), groups=2, padding="same", **library)(x)
    x = keras.layers.BatchNormalization(momentum=0.99)(x)
    x = get_dropout(**library)(0.5, noise_shape=(None, 1, 1, 1))(x)
    x = keras.layers.Lambda(lambda inputs, scale: inputs[0] + inputs[1] * scale, arguments={"scale": 0.17})([data, x])
    return keras.Model(data, keras.layers.Conv2D(3, 1, activation="softmax")(x))


def test_network_normalises_inside_has_the_momentum_and_reloads_exactly_without_the_library(tmp_path):
    from satseg.models.keras.load import load_network, load_segmenter
    from satseg.models.keras.portable import portable_network
    from satseg.models.keras.runtime import keras

    inner = library_network(4)
    network = portable_network(inner, (100.0,) * 4, (50.0,) * 4, 0.8)
    momenta = {layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.8}
    pixels = RNG.integers(0, 255, (2, 64, 96, 4)).astype(np.uint8)
    expected = inner((pixels.astype(np.float32) - 100) / 50).numpy()
    network.save(tmp_path / "model.keras")
    write_json(tmp_path / "model.json", description(4, ("road", "water")).model_dump(mode="json"))
    segmenter = load_segmenter(tmp_path)
    found = segmenter.predict(pixels)
    assert found.shape == (2, 64, 96, 3)
    assert found == pytest.approx(expected, abs=1e-5)
    again = load_network(tmp_path)
    library_way = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert np.array_equal(library_way(pixels).numpy(), again(pixels).numpy())
    assert np.array_equal(network(pixels).numpy(), again(pixels).numpy())
    assert not {type(layer).__name__ for layer in again.layers} & {"Lambda", "FixedDropout"}
    with pytest.raises(BadDataError, match=r"multiples of 32.*\(1, 40, 64, 4\)"):
        segmenter.predict(pixels[:1, :40, :64])
    (tmp_path / "model.keras").write_bytes((tmp_path / "model.keras").read_bytes()[:5000])
    with pytest.raises(BadDataError, match=r"cannot be loaded.*Train again"):
        load_segmenter(tmp_path)


def test_nan_pixels_do_not_spread(tmp_path):
    from satseg.models.keras.load import KerasSegmenter
    from satseg.models.keras.portable import portable_network

    network = portable_network(library_network(4), (0.5,) * 4, (0.2,) * 4, 0.9)
    pixels = RNG.uniform(0, 1, (1, 32, 32, 4)).astype(np.float32)
    pixels[0, :8] = np.nan
    about = description(4, ("road", "water")).model_copy(update={"dtype": "float32", "mean": (0.5,) * 4})
    assert np.isfinite(KerasSegmenter(network, about).predict(pixels)).all()


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["linknet", "unet"])
@pytest.mark.parametrize(
    "backbone", ["efficientnetb0", "resnet18", "seresnet18", "mobilenetv2", "vgg16", "densenet121"]
)
def test_backbones_build_and_reload_exactly(tmp_path, architecture, backbone):
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.load import load_network

    config = TrainingConfig(backbone=backbone, architecture=architecture)
    network = build_network(config, 5, 3, (1.0,) * 5, (50.0,) * 5)
    network.save(tmp_path / "model.keras")
    pixels = RNG.uniform(0, 255, (1, 64, 64, 5)).astype(np.float32)
    assert np.array_equal(load_network(tmp_path)(pixels).numpy(), network(pixels).numpy())


def test_encoder_weights_come_from_a_file_and_fit_other_numbers_of_bands(tmp_path):
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.runtime import keras

    encoder = keras.applications.MobileNet(input_shape=(None, None, 3), weights=None, include_top=False)
    encoder.get_layer("conv1").set_weights([np.full((3, 3, 3, 32), 0.25, np.float32)])
    file = tmp_path / "encoder.h5"
    encoder.save_weights(file)
    assert h5py.is_hdf5(file)
    config = TrainingConfig(backbone="mobilenet", encoder_weights=str(file))
    three, five = (build_network(config, bands, 1, (0.0,) * bands, (1.0,) * bands) for bands in (3, 5))
    assert three.get_layer("conv1").get_weights()[0] == pytest.approx(0.25)
    assert five.get_layer("conv1").get_weights()[0].shape == (3, 3, 5, 32)
    assert five.get_layer("conv1").get_weights()[0] == pytest.approx(0.25 * 3 / 5)
    with pytest.raises(ConfigurationError, match=r"encoder_weights: '/nowhere.h5'"):
        build_network(config.model_copy(update={"encoder_weights": "/nowhere.h5"}), 3, 1, (0.0,) * 3, (1.0,) * 3)
    file.write_bytes(b"no weights")
    with pytest.raises(BadDataError, match="does not fit mobilenet"):
        build_network(config, 3, 1, (0.0,) * 3, (1.0,) * 3)
