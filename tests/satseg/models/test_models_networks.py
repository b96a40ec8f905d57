"""Networks: what they compute, weigh, take and start from; saved and loaded without a change."""

import warnings

import h5py
import numpy as np
import pytest

from model_descriptions import describe
from satseg.config.project import parse_project
from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError, TemporaryError
from satseg.storage.atomic import write_json

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)


def description(bands, classes):
    return describe(
        project="p",
        backbone="efficientnetb0",
        bands=tuple("abcd"[:bands]),
        classes=classes,
        gsd_m=None,
        mean=(100.0,) * bands,
        std=(50.0,) * bands,
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


PARAMETERS = {
    ("linknet", "efficientnetb0"): 6_096_333,
    ("unet", "efficientnetb0"): 10_115_501,
    ("manet", "efficientnetb0"): 13_152_189,
    ("linknet", "resnet18"): 11_521_690,
    ("unet", "resnet18"): 14_340_570,
    ("manet", "resnet18"): 17_467_930,
}
ENCODER_PARAMETERS = {"efficientnetb0": 4_049_564, "resnet18": 11_186_889}


def built(architecture, backbone, bands=3, channels=1, **changes):
    from satseg.models.keras.architectures import build_network

    config = TrainingConfig(architecture=architecture, backbone=backbone, **changes)
    return build_network(config, bands, channels, (1.0,) * bands, (50.0,) * bands)


@pytest.mark.parametrize("architecture", ["linknet", "unet", "manet"])
def test_parameters_are_as_many_as_the_docstring_says(architecture):
    from satseg.models.keras.architectures import build_network, encoder_layers

    network = built(architecture, "resnet18")
    assert network.count_params() == PARAMETERS[architecture, "resnet18"]
    encoder = sum(weight.shape.num_elements() for layer in encoder_layers(network) for weight in layer.weights)
    assert encoder == ENCODER_PARAMETERS["resnet18"]
    for backbone in ("efficientnetb0", "resnet18"):
        (row,) = (line for line in build_network.__doc__.splitlines() if line.strip().startswith(f"| {backbone} "))
        names = ("linknet", "unet", "manet")
        millions = [f"{PARAMETERS[name, backbone] / 1e6:.1f}" for name in names]
        assert [cell.strip() for cell in row.split("|")[2:5]] == millions


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["linknet", "unet", "manet"])
def test_parameters_of_the_default_backbone(architecture):
    assert built(architecture, "efficientnetb0").count_params() == PARAMETERS[architecture, "efficientnetb0"]
    if architecture == "manet":
        unreduced = built("manet", "efficientnetb0", manet_head_channels=1280)
        assert round(unreduced.count_params() / 1e6) == 55


def test_manet_takes_any_size_bands_and_classes_and_each_position_sees_the_whole_window():
    from satseg.models.keras.manet import build_manet
    from satseg.models.keras.runtime import keras, tf

    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "expects 1 or 3 input channels"
        network = build_manet("mobilenet", 5, 4, 32)
    pixels = RNG.normal(size=(2, 64, 96, 5)).astype(np.float32)
    found = network(pixels).numpy()
    assert found.shape == (2, 64, 96, 4)
    assert found.sum(axis=-1) == pytest.approx(np.ones((2, 64, 96)), abs=1e-5)
    head, attended = (network.get_layer(name).output for name in ("decoder_head_relu", "decoder_attention_add"))
    assert head.shape[-1] == 32
    attention = keras.Model(head, attended)
    features = tf.constant(RNG.normal(size=(1, 4, 4, 32)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(features)
        corner = tf.reduce_sum(attention(features)[0, 0, 0])
    assert (np.abs(tape.gradient(corner, features).numpy()).sum(axis=-1) > 0).all()


def test_manet_attention_equals_numpy():
    from satseg.models.keras.manet import _position_attention
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(0)
    data = keras.Input((None, None, 16))
    block = keras.Model(data, _position_attention(data, "a"))
    x = RNG.normal(size=(2, 3, 5, 16)).astype(np.float32)

    def part(name, array):
        return np.asarray(block.get_layer(f"a_{name}")(array), np.float64)

    query, key, value = (part(name, x).reshape(2, 15, -1) for name in ("query", "key", "value"))
    mixed = np.zeros((2, 15, 16))
    for image in range(2):
        for here in range(15):
            likeness = np.exp([query[image, here] @ key[image, there] for there in range(15)])
            mixed[image, here] = sum(
                weight * value[image, there] for there, weight in enumerate(likeness / likeness.sum())
            )
    expected = x + part("out", mixed.reshape(2, 3, 5, 16).astype(np.float32))
    assert block(x).numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "key, value, choices",
    [
        ("architecture", "segnet", "'linknet', 'unet' or 'manet'"),
        ("loss", "hinge", "'dice_bce', 'dice', 'bce', 'focal', 'tversky' or 'lovasz'"),
        ("augmentations", "[flip, shear]", "'flip', 'rotate90', 'scale'"),
    ],
)
def test_an_unknown_choice_names_the_choices(key, value, choices):
    with pytest.raises(ConfigurationError, match=rf"training\.{key}.*{choices}"):
        parse_project("{name: x, classes: [y]}", "x.yaml", (f"training.{key}={value}",))


def reloads_exactly(network, folder, load_network):
    network.save(folder / "model.keras")
    pixels = RNG.uniform(0, 255, (1, 64, 64, 5)).astype(np.float32)
    assert np.array_equal(load_network(folder)(pixels).numpy(), network(pixels).numpy())


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["linknet", "unet", "manet"])
@pytest.mark.parametrize(
    "backbone", ["efficientnetb0", "resnet18", "seresnet18", "mobilenetv2", "vgg16", "densenet121"]
)
def test_backbones_build_and_reload_exactly(tmp_path, architecture, backbone):
    from satseg.models.keras.load import load_network

    reloads_exactly(built(architecture, backbone, 5, 3), tmp_path, load_network)


def encoder_file(folder, kernel):
    """A weights file of MobileNet, as the library downloads it, with this first kernel."""
    from satseg.models.keras.runtime import keras

    encoder = keras.applications.MobileNet(input_shape=(None, None, 3), weights=None, include_top=False)
    encoder.get_layer("conv1").set_weights([kernel])
    encoder.save_weights(folder / "encoder.h5")
    assert h5py.is_hdf5(folder / "encoder.h5")
    return folder / "encoder.h5"


def test_encoder_weights_come_from_a_file_and_fit_other_numbers_of_bands(tmp_path):
    from satseg.models.keras.architectures import build_network

    kernel = RNG.normal(size=(3, 3, 3, 32)).astype(np.float32)
    file = encoder_file(tmp_path, kernel)
    five = built("linknet", "mobilenet", 5, encoder_weights=str(file))
    expected = kernel[:, :, [0, 1, 2, 0, 1]] * np.float32(3 / 5)
    assert five.get_layer("conv1").get_weights()[0] == pytest.approx(expected)
    three = built("manet", "mobilenet", encoder_weights=str(file))
    assert np.array_equal(three.get_layer("conv1").get_weights()[0], kernel)
    config = TrainingConfig(backbone="mobilenet", encoder_weights="/nowhere.h5")
    with pytest.raises(ConfigurationError, match=r"encoder_weights: '/nowhere.h5'"):
        build_network(config, 3, 1, (0.0,) * 3, (1.0,) * 3)
    file.write_bytes(b"no weights")
    with pytest.raises(BadDataError, match="does not fit mobilenet"):
        built("linknet", "mobilenet", encoder_weights=str(file))


def test_imagenet_weights_are_downloaded_by_keras_and_a_failed_download_is_temporary(tmp_path, monkeypatch):
    from satseg.models.keras.runtime import segmentation_models

    kernel = RNG.normal(size=(3, 3, 3, 32)).astype(np.float32)
    file, wanted = encoder_file(tmp_path, kernel), []

    def fetch(name, url, **_):
        wanted.append(url)
        return str(file)

    def fail(name, url, **_):
        raise Exception(f"URL fetch failure on {url}: None -- unreachable")

    monkeypatch.setattr(segmentation_models()._KERAS_UTILS, "get_file", fetch)
    network = built("linknet", "mobilenet", encoder_weights="imagenet")
    assert "mobilenet" in wanted[0]
    assert np.array_equal(network.get_layer("conv1").get_weights()[0], kernel)
    monkeypatch.setattr(segmentation_models()._KERAS_UTILS, "get_file", fail)
    with pytest.raises(TemporaryError, match=r"ImageNet weights of mobilenet.*encoder_weights to a weights file"):
        built("linknet", "mobilenet", encoder_weights="imagenet")


@pytest.mark.parametrize(
    "backbone, order",
    [
        ("mobilenet", (0, 1, 2)),  # -1..1
        ("efficientnetb0", (0, 1, 2)),  # standardised
        ("resnet18", (0, 1, 2)),  # 0..255
        ("vgg16", (2, 1, 0)),  # blue first, mean taken off
    ],
)
def test_a_pretrained_encoder_is_fed_what_its_preprocessing_would_give(backbone, order):
    from satseg.models.keras.encoder_weights import encoder_input
    from satseg.models.keras.runtime import segmentation_models

    colours = RNG.uniform(0, 255, (1, 4, 4, 3))
    preprocessed = segmentation_models().get_preprocessing(backbone)(colours.copy())
    expected = encoder_input(backbone)
    assert expected.order == order
    # a scene with ImageNet's own mean and deviation, on another scale
    mean = 40 * np.array([0.485, 0.456, 0.406]) + 7
    means, deviations = expected.normalisation(mean, 40 * np.array([0.229, 0.224, 0.225]))
    fed = (colours / 255 * 40 + 7 - means) / deviations
    assert fed[..., list(order)] == pytest.approx(preprocessed, abs=1e-3)


def test_an_encoder_that_takes_blue_first_gets_its_kernel_turned():
    from satseg.models.keras.encoder_weights import adapt_bands
    from satseg.models.keras.runtime import keras

    def network(bands):
        data = keras.Input((None, None, bands))
        x = keras.layers.BatchNormalization(scale=False)(data)
        return keras.Model(data, keras.layers.Conv2D(2, 1)(x))

    blue_first = network(3)
    statistics = [np.array(values, np.float32) for values in ((0, 0, 0), (10, 20, 30), (1, 4, 9))]
    blue_first.layers[1].set_weights(statistics)
    pixels = RNG.normal(size=(1, 4, 4, 3)).astype(np.float32)
    same = adapt_bands(blue_first, network(3), (2, 1, 0))
    assert same(pixels).numpy() == pytest.approx(blue_first(pixels[..., ::-1]).numpy(), abs=1e-5)
    grey = adapt_bands(blue_first, network(1), (2, 1, 0))
    assert grey.layers[1].get_weights()[1] == pytest.approx([20.0])
    kernel = blue_first.layers[2].get_weights()[0]
    assert grey.layers[2].get_weights()[0] == pytest.approx(kernel.sum(axis=2, keepdims=True))
