"""How the learner updates weights: clipping, freezing, number formats, several devices, several steps per call."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from patch_sets import write_tiny_patch_set

from model_descriptions import describe
from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError
from satseg.patches.patchset import open_patch_set

pytestmark = pytest.mark.slow

CONFIG = TrainingConfig(backbone="mobilenet", batch_size=4)


def network(dropout=0.0):
    from satseg.models.keras.portable import portable_network
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="stem")(pixels)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="decoder_stage0")(x)
    x = keras.layers.BatchNormalization(name="decoder_bn")(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Conv2D(1, 1, name="final")(x)
    model = keras.Model(pixels, keras.layers.Activation("sigmoid", name="sigmoid")(x))
    return portable_network(model, (70.0,) * 3, (40.0,) * 3, 0.9)


def learner(patch_set, net=None, devices=None, **changes):
    from satseg.models.keras.learner import KerasLearner

    return KerasLearner(net or network(), patch_set, CONFIG.model_copy(update=changes), devices)


def train(subject, *epochs, rate=1e-2):
    return [subject.step(batch, rate) for epoch in epochs for batch in subject.batches(epoch)]


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_clipped_gradients_give_the_update_of_the_scaled_gradient(patch_set):
    from satseg.models.keras.runtime import keras, tf

    clipped, free = learner(patch_set, gradient_clip_norm=1e-3), learner(patch_set)
    images, masks = next(iter(free.batches(1)))
    with tf.GradientTape() as tape:
        loss = free._loss(masks, free.network(images, training=True))
    variables = free.network.trainable_variables
    gradients = tape.gradient(loss, variables)
    norm = np.sqrt(sum(float(tf.reduce_sum(gradient**2)) for gradient in gradients))
    assert norm > 1e-3
    by_hand = keras.optimizers.legacy.Adam(1e-2)
    expected_network = network()
    scaled = [gradient * (1e-3 / norm) for gradient in gradients]
    by_hand.apply_gradients(zip(scaled, expected_network.trainable_variables, strict=True))
    clipped.step((images, masks), 1e-2)
    pairs = zip(clipped.network.trainable_variables, expected_network.trainable_variables, strict=True)
    for found, expected in pairs:
        assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_a_frozen_encoder_keeps_weights_statistics_and_moments_and_goes_on_when_set_free(patch_set):
    subject = learner(patch_set)
    train(subject, 1)
    names = [weight.name for weight in subject.network.weights]
    before = subject.state()
    subject.set_encoder_trainable(False)
    assert same(before, subject.state())
    train(subject, 2)
    after = subject.state()
    moved = {name for place, name in enumerate(names) if not np.array_equal(*both(before, after, place))}
    assert {name.split("/")[0] for name in moved} == {"decoder_stage0", "decoder_bn", "final"}
    resumed = learner(patch_set)
    resumed.restore(after)
    for each in (subject, resumed):
        each.set_encoder_trainable(True)
        train(each, 3)
    assert same(subject.state(), resumed.state())
    assert subject.steps_done == 3 * subject.steps_per_epoch
    stems = [place for place, name in enumerate(names) if name.startswith("stem")]
    assert not any(np.array_equal(*both(after, subject.state(), place)) for place in stems)


def both(first, second, place):
    name = f"w{place:05d}"
    return first[name], second[name]


def test_a_model_saved_while_frozen_is_free_to_learn_again(patch_set, tmp_path):
    from satseg.models.keras.load import load_network

    subject = learner(patch_set)
    subject.set_encoder_trainable(False)
    subject.save(tmp_path, description(patch_set))
    assert len(load_network(tmp_path).trainable_variables) == 10


def description(patch_set):

    return describe(
        project="tiny",
        backbone="mobilenet",
        bands=patch_set.bands,
        dtype=patch_set.dtype,
        classes=patch_set.classes,
        gsd_m=None,
        mean=(70.0,) * 3,
        patch_set=patch_set.id,
    )


def test_several_steps_per_call_give_the_weights_of_single_steps(patch_set):
    single, grouped = learner(patch_set, network(0.3)), learner(patch_set, network(0.3), steps_per_execution=2)
    losses = train(single, 1)  # 18 draws: four full batches and one of two windows
    together = train(grouped, 1)
    assert [images.shape.rank for images, _ in grouped.batches(1)] == [5, 5, 4]
    assert together == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:4]), losses[4]], rel=1e-5)
    assert grouped.steps_done == single.steps_done == 5
    for name, weights in single.state().items():
        assert grouped.state()[name] == pytest.approx(weights, rel=1e-3, abs=1e-5), name
    assert [images.shape.rank for images, _ in grouped.batches(1, first_step=3)] == [4, 4]


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns_resumes_exactly_and_is_saved_as_float32(patch_set, tmp_path, precision):
    from satseg.models.keras.load import load_segmenter

    subject = learner(patch_set, precision=precision)
    halves = [layer for layer in subject.network.layers if layer.compute_dtype != "float32"]
    assert {layer.name for layer in halves} >= {"stem", "decoder_stage0", "final"}
    assert all(weight.dtype == "float32" for weight in subject.network.weights)
    before = subject.validate().loss
    train(subject, 1, 2, 3)
    assert subject.validate().loss < 0.9 * before
    resumed = learner(patch_set, precision=precision)
    resumed.restore(subject.state())
    train(subject, 4)
    train(resumed, 4)
    assert same(subject.state(), resumed.state())
    assert ("scale" in subject.state()) == (precision == "mixed_float16")
    subject.save(tmp_path, description(patch_set))
    saved = load_segmenter(tmp_path)
    pixels = np.array(patch_set.images(2)[:2])
    assert np.array_equal(saved.predict(pixels), subject.segmenter(description(patch_set)).predict(pixels))
    assert {layer.compute_dtype for layer in saved.network.layers} == {"float32"}
    assert saved.predict(pixels) == pytest.approx(np.asarray(subject.average(pixels.astype(np.float32))), abs=0.02)


def test_what_is_validated_and_kept_is_the_mean_of_the_last_part_of_the_steps(patch_set):
    subject, weights = learner(patch_set, weight_averaging=0.25), []
    for batch in subject.batches(1):
        subject.step(batch, 1e-2)
        weights.append(subject.network.get_weights())
    assert len(weights) == 5
    # Shamir and Zhang 2013: step t counts with (n + 1)/(t + n), here n = 3; of the first step all
    expected = weights[0]
    for step, new in enumerate(weights, start=1):
        expected = [old + 4 / (step + 3) * (array - old) for old, array in zip(expected, new, strict=True)]
    kept = [subject.weights()[name] for name in sorted(subject.weights())]
    assert all(found == pytest.approx(array, rel=1e-4, abs=1e-6) for found, array in zip(kept, expected, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(kept, weights[-1], strict=True))
    average = subject.validate().loss
    subject.restore(subject.state() | {name.replace("w", "a"): array for name, array in _last(subject).items()})
    assert subject.validate().loss != average


def _last(subject):
    return {f"w{place:05d}": array for place, array in enumerate(subject.network.get_weights())}


def test_without_averaging_the_last_weights_are_kept(patch_set):
    subject = learner(patch_set, weight_averaging=0.0)
    train(subject, 1)
    assert same(subject.weights(), _last(subject))


def test_a_float16_step_whose_gradients_overflow_is_left_out_and_counted(patch_set):
    subject = learner(patch_set, precision="mixed_float16")
    images, masks = next(iter(subject.batches(1)))
    state = subject.state()
    subject.restore(state | {"scale": np.float32(1e38)})
    subject.step((images, masks), 1e-2)
    after = subject.state()
    assert after["scale"] == np.float32(5e37)
    assert subject.steps_done == 1
    trainable = {f"w{p:05d}" for p, w in enumerate(subject.network.weights) if "moving" not in w.name}
    assert all(np.array_equal(state[name], after[name]) for name in trainable)


def test_two_devices_learn_like_one_share_batches_equally_and_resume(workspace, tmp_path):
    write_tiny_patch_set(workspace)
    child = [sys.executable, Path(__file__).with_name("mirrored_child.py"), workspace.root, tmp_path / "result.npz"]
    ended = subprocess.run(child, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "result.npz") as result:
        assert result["losses"][1] == pytest.approx(result["losses"][0], rel=1e-5)
        assert result["weights"][1] == pytest.approx(result["weights"][0], abs=1e-5)
        assert result["confusions"][0].tolist() == result["confusions"][1].tolist()
        # each device keeps its own statistics and a checkpoint their mean, which is rounded
        assert all("moving_" in name for name in result["unlike"])
        assert float(result["distance"]) < 1e-6
        assert int(result["devices"]) == 2
        assert set(result["windows"].tolist()) == {4}  # 18 draws would leave half a batch
        assert int(result["steps"]) == 10


def test_a_batch_that_two_devices_cannot_share_is_refused():
    from satseg.models.keras.devices import choose_strategy

    with pytest.raises(ConfigurationError, match=r"batch_size 7 cannot be shared.*2 devices.*batch_size=8"):
        choose_strategy(("/gpu:0", "/gpu:1"), 7)


def test_precision_is_half_only_where_all_gpus_gain():
    from satseg.models.keras.devices import choose_precision

    assert choose_precision("auto", []) == "float32"
    assert choose_precision("auto", [(6, 1)]) == "float32"
    assert choose_precision("auto", [(7, 5), (8, 6)]) == "mixed_float16"
    assert choose_precision("auto", [(8, 0), (9, 0)]) == "mixed_bfloat16"
    assert choose_precision("mixed_float16", []) == "mixed_float16"


def test_xla_gives_the_same_losses(patch_set):
    assert train(learner(patch_set, xla=True, augmentations=()), 1) == pytest.approx(
        train(learner(patch_set, augmentations=()), 1), rel=1e-4
    )


def test_class_weights_must_fit_the_classes(patch_set):
    with pytest.raises(ConfigurationError, match=r"class_weights.*must be 2 numbers.*background first"):
        learner(patch_set, class_weights=(1.0, 2.0, 3.0))
    assert train(learner(patch_set, class_weights="balanced"), 1) == train(learner(patch_set), 1)  # all 1 there
    assert train(learner(patch_set, class_weights=(1.0, 9.0)), 1) != train(learner(patch_set), 1)


def test_a_patch_set_of_other_bands_is_refused(workspace):
    patch_set = open_patch_set(workspace, "tiny", write_tiny_patch_set(workspace, bands=4))
    with pytest.raises(BadDataError, match=r"takes 3 bands and patch set aaaaaaaaaaaa has 4 \(band0, band1"):
        learner(patch_set)
