import sys

import numpy as np
import pytest

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError

pytestmark = pytest.mark.slow

CONFIG = TrainingConfig(backbone="mobilenet", batch_size=4)


def small_network(seed=0):
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(seed)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(pixels, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))


def learner(patch_set, draw_weights=None, **changes):
    from satseg.models.keras.learner import KerasLearner

    config = CONFIG.model_copy(update=changes)
    return KerasLearner(small_network(), patch_set, config, draw_weights=draw_weights)


def train_steps(subject, epoch, first_step=0, count=99):
    losses = []
    for batch in subject.batches(epoch, first_step):
        if len(losses) == count:
            break
        losses.append(subject.step(batch, 1e-2))
    return losses


def test_pipeline_delivers_exactly_the_train_windows_by_their_weights(patch_set):
    subject = learner(patch_set, augmentations=())
    batches = list(subject.batches(1))
    images = np.concatenate([batch[0].numpy() for batch in batches])
    masks = np.concatenate([batch[1].numpy() for batch in batches])
    expected = []
    for _, row in patch_set.windows("train").iterrows():
        image, mask = patch_set.images(row["shard"])[row["index"]], patch_set.masks(row["shard"])[row["index"]]
        expected += [image.astype(np.float32).tobytes() + mask.tobytes()] * row["draw_weight"]
    got = [image.tobytes() + mask.tobytes() for image, mask in zip(images, masks, strict=True)]
    assert sorted(got) == sorted(expected)
    assert got != sorted(got)
    assert len(batches) == subject.steps_per_epoch == 5
    again = np.concatenate([batch[0].numpy() for batch in subject.batches(1)])
    other = np.concatenate([batch[0].numpy() for batch in subject.batches(2)])
    assert np.array_equal(images, again)
    assert not np.array_equal(images, other)


def test_given_draw_weights_change_what_is_drawn_and_not_how_long_an_epoch_is(patch_set):
    weights = np.array([1] * 8 + [992])
    subject = learner(patch_set, weights, augmentations=())
    images = np.concatenate([batch[0].numpy() for batch in subject.batches(1)])
    last = patch_set.windows("train").iloc[-1]
    often = patch_set.images(last["shard"])[last["index"]].astype(np.float32)
    assert sum(np.array_equal(image, often) for image in images) >= len(images) - 2
    assert subject.steps_per_epoch == learner(patch_set).steps_per_epoch


def test_steps_per_epoch_is_honoured(patch_set):
    subject = learner(patch_set, steps_per_epoch=7)
    assert [len(images) for images, _ in subject.batches(2)] == [4] * 7


def test_validation_sums_the_confusion_of_the_whole_split(patch_set):
    subject = learner(patch_set, batch_size=2)  # 3 windows: the last batch is smaller
    measured = subject.validate()
    expected = np.zeros((2, 2), int)
    for _, row in patch_set.windows("val").iterrows():
        truth = patch_set.masks(row["shard"])[row["index"]]
        image = patch_set.images(row["shard"])[row["index"]].astype(np.float32)
        predicted = subject.network(image[None]).numpy()[0, ..., 0] >= 0.5
        np.add.at(expected, (truth.ravel(), predicted.ravel().astype(int)), 1)
    assert measured.confusion.tolist() == expected.tolist()
    assert subject._val_step.experimental_get_tracing_count() == 1


def test_a_restored_learner_ends_with_the_same_weights_as_an_undisturbed_one(patch_set):
    undisturbed = learner(patch_set)
    losses = train_steps(undisturbed, 1) + train_steps(undisturbed, 2)
    first = learner(patch_set)
    train_steps(first, 1)
    train_steps(first, 2, count=2)
    resumed = learner(patch_set)
    resumed.restore(first.state())
    assert train_steps(resumed, 2, first_step=2) == losses[7:]
    for name, weights in undisturbed.state().items():
        assert np.array_equal(weights, resumed.state()[name]), name
    assert undisturbed._updates._one.experimental_get_tracing_count() == 1


def test_learning_lowers_the_loss_on_bright_squares(patch_set):
    subject = learner(patch_set)
    before = subject.validate().loss
    for epoch in range(1, 7):
        train_steps(subject, epoch)
    assert subject.validate().loss < 0.7 * before


def test_out_of_memory_names_the_batch_size_and_what_to_lower(patch_set):
    from satseg.models.keras.learner import KerasLearner
    from satseg.models.keras.runtime import keras

    pixels = keras.Input((None, None, 3))
    x = keras.layers.UpSampling2D(40_000)(pixels)  # 300 TB: no machine has that
    x = keras.layers.AveragePooling2D(40_000)(x)
    greedy = keras.Model(pixels, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))
    subject = KerasLearner(greedy, patch_set, CONFIG)
    expected = r"batch_size 4, linknet on mobilenet and windows of 64 px: lower it.*--set training.batch_size=2"
    with pytest.raises(ConfigurationError, match=expected):
        train_steps(subject, 1)
    with pytest.raises(ConfigurationError, match=expected):
        subject.validate()


def test_an_empty_split_is_refused(patch_set, monkeypatch):
    full = type(patch_set).windows
    monkeypatch.setattr(
        type(patch_set), "windows", lambda self, split: full(self, split).iloc[: 0 if split == "val" else None]
    )
    with pytest.raises(BadDataError, match=r"no val windows.*patches.val_fraction"):
        learner(patch_set)


def test_no_temp_file_is_made_that_a_kill_would_leave(patch_set):
    def generated():
        return {name for name in sys.modules if name.startswith("__autograph_generated_file")}

    before = generated()
    subject = learner(patch_set)
    train_steps(subject, 1, count=1)
    subject.validate()
    assert generated() == before
