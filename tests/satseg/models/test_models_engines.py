"""Every engine gives what TensorFlow gives, for windows of any size; broken files are named."""

import shutil

import numpy as np
import pytest

from model_descriptions import describe
from satseg.errors import BadDataError, ConfigurationError
from satseg.models.engines import ENGINES, load_engine

BANDS = ("red", "green", "blue", "nir")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small encoder and decoder, its batch normalisation used to the pixels, as all three files."""
    from satseg.models.keras import export
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((None, None, 4))
    deep = keras.layers.Rescaling(1 / 50, -2)(pixels)
    skip = deep = keras.layers.ReLU()(
        keras.layers.BatchNormalization(momentum=0)(keras.layers.Conv2D(8, 3, 2, "same")(deep))
    )
    deep = keras.layers.Conv2D(12, 3, 2, "same", activation="relu")(deep)
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(deep)
    deep = keras.layers.Multiply()([deep, keras.layers.Conv2D(12, 1, activation="sigmoid")(squeezed)])
    deep = keras.layers.Conv2D(8, 1, activation="relu")(keras.layers.UpSampling2D()(deep))
    deep = keras.layers.UpSampling2D()(keras.layers.Add()([deep, skip]))
    network = keras.Model(pixels, keras.layers.Softmax()(keras.layers.Conv2D(3, 3, padding="same")(deep)))
    network(np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 4)).astype(np.float32), training=True)
    described = describe(
        project="p",
        bands=BANDS,
        classes=("road", "water"),
        gsd_m=None,
        mean=(100.0,) * 4,
        std=(50.0,) * 4,
        patch_set="x",
    )
    made = {engine: tmp_path_factory.mktemp(engine) for engine in ENGINES}
    for folder in made.values():
        (folder / "model.json").write_text(described.model_dump_json())
    network.save(made["tf"] / "model.keras")
    export.write_onnx(made["tf"], made["onnx"] / "model.onnx")
    export.write_tflite(made["tf"], made["litert"] / "model.tflite", half=False)
    calibration = np.random.default_rng(1).integers(0, 256, (16, 64, 64, 4)).astype(np.uint8)
    quantiser = export.int8_quantiser(made["tf"], calibration)
    (made["litert_int8"] / "model.tflite").write_bytes(quantiser.model(0))
    (made["litert_int8"] / "some.tflite").write_bytes(quantiser.model(quantiser.operations // 2))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "most"), [("onnx", 1e-5), ("litert", 1e-5), ("litert_int8", 0.08)])
def test_engine_agrees_with_tensorflow_on_any_size_and_batch(folders, engine, most):
    original, other = load_engine(folders["tf"], "tf"), load_engine(folders[engine], engine, threads=1)
    for shape in ((1, 64, 64, 4), (3, 96, 32, 4), (2, 64, 64, 4), (1, 160, 160, 4)):
        pixels = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
        expected, found = original.predict(pixels), other.predict(pixels)
        assert (found.shape, found.dtype) == ((*shape[:3], 3), np.float32)
        assert np.abs(found - expected).max() < most
    assert expected.std() > 0.01
    assert other.description == original.description


@pytest.mark.slow
def test_files_hold_no_operation_that_xnnpack_cannot_plan(folders):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folders["litert_int8"] / "model.tflite"))
    operations = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert "DEPTH_TO_SPACE" in operations
    assert not operations & {"RESIZE_NEAREST_NEIGHBOR", "SHAPE"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["linknet", "unet", "manet"])
def test_layers_chosen_for_xnnpack_change_no_value(architecture):
    from satseg.config.training import TrainingConfig
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.runtime import keras
    from satseg.models.keras.xnnpack import Repeat2x2, for_xnnpack

    config = TrainingConfig(architecture=architecture, backbone="resnet18")
    network = build_network(config, 3, 1, (100.0,) * 3, (50.0,) * 3)
    pixels = np.random.default_rng(3).uniform(0, 255, (2, 96, 64, 3)).astype(np.float32)
    network(pixels, training=True)  # moves the statistics away from 0 and 1
    copy = for_xnnpack(network)
    kinds = [type(layer) for layer in copy.layers]
    assert Repeat2x2 in kinds
    assert keras.layers.UpSampling2D not in kinds
    assert kinds.count(keras.layers.DepthwiseConv2D) >= 8  # resnet18 activates before it convolves
    assert np.abs(copy(pixels) - network(pixels)).max() < 1e-3  # rounding grows in a network that has learnt nothing


@pytest.mark.slow
@pytest.mark.parametrize(("windows", "at_once"), [(8, 4), (6, 3), (5, 1), (1, 1), (4, 4)])
def test_windows_go_through_in_equal_groups(folders, windows, at_once):
    engine = load_engine(folders["litert"], "litert")
    pixels = np.random.default_rng(3).integers(0, 256, (windows, 256, 256, 4)).astype(np.uint8)
    found = engine.predict(pixels)
    assert engine._shape[0] == at_once
    assert np.abs(found[-1] - engine.predict(pixels[-1:])[0]).max() < 1e-5


@pytest.mark.slow
def test_operations_left_in_float_bring_int8_nearer_to_the_original(folders):
    pixels = np.random.default_rng(3).integers(0, 256, (4, 64, 64, 4)).astype(np.uint8)
    expected = load_engine(folders["tf"], "tf").predict(pixels)
    whole = np.abs(load_engine(folders["litert_int8"], "litert_int8").predict(pixels) - expected).mean()
    part = folders["litert_int8"] / "part"
    part.mkdir()
    shutil.copy(folders["litert_int8"] / "model.json", part)
    shutil.copy(folders["litert_int8"] / "some.tflite", part / "model.tflite")
    assert np.abs(load_engine(part, "litert_int8").predict(pixels) - expected).mean() < 0.95 * whole


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_that_are_no_numbers_count_as_average_and_other_shapes_are_named(folders, engine):
    segmenter = load_engine(folders[engine], engine)
    pixels = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 4)).astype(np.float32)
    holes, average = pixels.copy(), pixels.copy()
    holes[0, 3, 5], average[0, 3, 5] = np.nan, 100.0
    assert np.array_equal(segmenter.predict(holes), segmenter.predict(average))
    for shape in ((1, 64, 64, 3), (64, 64, 4), (1, 60, 64, 4)):
        with pytest.raises(BadDataError, match=r"takes \(N, H, W, 4\).*red, green, blue, nir"):
            segmenter.predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("engine", "file"), [("onnx", "model.onnx"), ("litert", "model.tflite")])
def test_broken_or_missing_file_is_named_with_the_way_out(tmp_path, engine, file):
    with pytest.raises(BadDataError, match=rf"{file} is missing.*satseg export"):
        load_engine(tmp_path, engine)
    (tmp_path / file).write_bytes(b"nothing")
    with pytest.raises(BadDataError, match=r"model.json does not describe"):
        load_engine(tmp_path, engine)
    description = describe(
        project="p",
        architecture="a",
        backbone="b",
        bands=("red",),
        classes=("c",),
        gsd_m=None,
        mean=(1.0,),
        std=(1.0,),
        patch_set="x",
    )
    (tmp_path / "model.json").write_text(description.model_dump_json())
    with pytest.raises(BadDataError, match=rf"{file} cannot be loaded by .*Export the model again"):
        load_engine(tmp_path, engine)


def test_unknown_engine_names_those_there_are(tmp_path):
    with pytest.raises(ConfigurationError, match="no engine 'tpu'; there are tf, onnx, litert, litert_int8"):
        load_engine(tmp_path, "tpu")
