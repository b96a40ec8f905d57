"""Changes of training windows: image and mask alike, the stated arithmetic, nothing but the seed decides."""

import cv2
import numpy as np
import pytest

from satseg.config.training import AugmentationStrength, TrainingConfig
from satseg.patches.patchset import PatchSet

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
MEAN, STD = (90.0, 100.0, 110.0), (30.0, 40.0, 50.0)


def always(**strength):
    return AugmentationStrength(chance=1.0, **strength)


def changed(image, mask, number, *names, dtype="uint8", **config):
    """Return what the pipeline makes of a window, and its chances."""
    from satseg.models.keras.augmentation import augmentation
    from satseg.models.keras.chances import chances
    from satseg.models.keras.photometry import PixelRange

    bands = image.shape[-1]
    change = augmentation(
        TrainingConfig(augmentations=names, **config), PixelRange.of(dtype, MEAN[:bands], STD[:bands]), MEAN[:bands]
    )
    chance = chances(np.array([1, number]), bands)
    new_image, new_mask = change.window(image.astype(np.float32), mask, chance)
    new_image = change.batch(np.asarray(new_image)[None], chance[None])[0]
    return np.asarray(new_image), np.asarray(new_mask), np.asarray(chance)


def window(size=32):
    mask = np.zeros((size, size), np.uint8)
    mask[5:14, 8:20] = 1
    mask[20:, :6] = 2
    return RNG.uniform(60, 180, (size, size, 3)).astype(np.float32), mask


def turned(mask, number, *names):
    image = np.repeat(mask[..., None], 2, axis=-1)
    new_image, new_mask, _ = changed(image, mask, number, *names)
    assert np.array_equal(new_image[..., 0], new_mask)
    return new_mask.tobytes()


def test_flips_and_quarter_turns_move_image_and_mask_alike_and_reach_all_positions():
    mask = RNG.integers(0, 3, (8, 8)).astype(np.uint8)
    quarter_turns = {np.rot90(mask, turns).tobytes() for turns in range(4)}
    flips = {part.tobytes() for part in (mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1])}
    both = {np.rot90(part, turns).tobytes() for part in (mask, mask[::-1]) for turns in range(4)}
    assert {turned(mask, number, "rotate90") for number in range(24)} == quarter_turns
    assert {turned(mask, number, "flip") for number in range(24)} == flips
    assert {turned(mask, number, "flip", "rotate90") for number in range(48)} == both


@pytest.mark.parametrize("names", [("scale",), ("crop",), ("scale", "crop")])
def test_scale_and_crop_resample_image_and_mask_from_the_same_places(names):
    from satseg.models.keras.chances import Chance

    size = 40
    rows, cols = np.mgrid[:size, :size].astype(np.float32) + 0.5  # each pixel says where it is
    for number in range(6):
        mask = ((rows // 8 + cols // 8) % 3).astype(np.uint8)
        image = np.stack([rows, cols, 100.0 * mask], axis=-1)
        found, new_mask, chance = changed(
            image, mask, number, *names, strength=always(scale=0.5, crop=0.5), dtype="float32"
        )
        ratio, first = 1.0, np.zeros(2)
        if "crop" in names:
            away = 0.5 * chance[Chance.CROP]
            ratio, first = 1 - away, away * size * chance[[Chance.CROP_ROW, Chance.CROP_COL]]
        if "scale" in names:
            part = 1.5 ** (2 * chance[Chance.SCALE] - 1)
            ratio, first = ratio * part, first + ratio * size * (1 - part) / 2
        for axis, place in enumerate((rows, cols)):
            expected = ratio * place + first[axis]
            inside = (expected > 0.5) & (expected < size - 0.5)
            assert inside.mean() > 0.4
            assert found[..., axis][inside] == pytest.approx(expected[inside], abs=2e-3)
        sharp = np.isin(found[..., 2], (0.0, 100.0, 200.0))  # between two pixels of one class
        assert sharp.mean() > 0.5
        assert np.array_equal(found[..., 2][sharp], 100.0 * new_mask[sharp])


def test_contrast_turns_about_the_mean_brightness_shifts_and_values_stay_in_range():
    from satseg.models.keras.chances import Chance

    image, mask = window()
    for number in range(4):
        found, new_mask, chance = changed(image, mask, number, "brightness", "contrast", brightness=0.1, contrast=0.5)
        contrast, brightness = 2 * chance[[Chance.CONTRAST, Chance.BRIGHTNESS]] - 1
        average = image.mean(axis=(0, 1), keepdims=True)
        expected = average + (image - average) * (1 + 0.5 * contrast) + 25.5 * brightness
        assert found == pytest.approx(expected.clip(0, 255), abs=1e-3)
        assert np.array_equal(new_mask, mask)
    extremes = [changed(image, mask, number, "brightness", brightness=1.0)[0] for number in range(20)]
    assert (np.min(extremes), np.max(extremes)) == (0, 255)


def test_gamma_bends_between_black_and_white_and_leaves_what_lies_beyond():
    from satseg.models.keras.chances import Chance

    image, mask = window()
    found, _, chance = changed(image, mask, 3, "gamma", strength=always(gamma=1.0))
    exponent = 2 ** (2 * chance[Chance.GAMMA] - 1)
    assert found == pytest.approx(255 * (image / 255) ** exponent, abs=0.01)
    outliers = np.full((8, 8, 3), 9000.0, np.float32)
    outliers[:4] = -9000.0
    kept, _, _ = changed(outliers, mask[:8, :8], 3, "gamma", dtype="float32", strength=always(gamma=1.0))
    assert kept == pytest.approx(outliers, abs=0.1)


def test_each_band_has_a_gain_of_its_own():
    from satseg.models.keras.chances import Chance

    image, mask = window()
    found, _, chance = changed(image, mask, 0, "band_gain", strength=always(band_gain=0.2))
    gains = 1 + 0.2 * (2 * chance[Chance.FIRST_BAND_GAIN :] - 1)
    assert gains.shape == (3,)
    assert len(set(gains)) == 3
    assert found == pytest.approx((image * gains).clip(0, 255), abs=1e-3)


def test_blur_is_opencvs_gaussian():
    from satseg.models.keras.chances import Chance

    image, mask = window()
    for number in range(3):
        found, new_mask, chance = changed(image, mask, number, "blur", strength=always(blur_px=2.0))
        sigma = float(2.0 * chance[Chance.BLUR])
        expected = cv2.GaussianBlur(image, (13, 13), sigma, borderType=cv2.BORDER_REFLECT)
        assert found == pytest.approx(expected, abs=0.01)
        assert np.array_equal(new_mask, mask)


def test_haze_mixes_in_airlight_and_never_more_than_allowed():
    image, mask = window()
    airlight = np.minimum(np.array(MEAN) + 2 * np.array(STD), 255)
    for number in range(8):
        found, new_mask, _ = changed(image, mask, number, "haze", strength=always(haze=0.6))
        lost = (found - image) / (airlight - image)
        lost = np.where(np.abs(airlight - image) > 5, lost, np.nan)
        assert np.nanmin(lost) >= -1e-3
        assert np.nanmax(lost) <= 0.6 + 1e-3
        assert np.nanmax(np.nanmax(lost, -1) - np.nanmin(lost, -1)) < 1e-3  # the same air before all bands
        assert np.array_equal(new_mask, mask)


def test_a_hidden_square_has_the_mean_colour_and_is_ignored():
    image, mask = window()
    sides = []
    for number in range(30):
        found, new_mask, _ = changed(image, mask, number, "cutout", strength=always(cutout=0.5))
        hidden = new_mask == 255
        assert np.array_equal(found[hidden], np.broadcast_to(np.float32(MEAN), (hidden.sum(), 3)))
        assert np.array_equal(found[~hidden], image[~hidden])
        assert np.array_equal(new_mask[~hidden], mask[~hidden])
        rows, cols = hidden.any(axis=1), hidden.any(axis=0)
        assert np.array_equal(hidden, rows[:, None] & cols[None, :])
        sides.append(max(rows.sum(), cols.sum()))
    assert 8 < max(sides) <= 16


def test_chance_is_the_part_of_the_windows_that_is_changed():
    image, mask = window(16)
    names = ("scale", "crop", "blur", "haze", "cutout")
    for name in names:
        some, none = AugmentationStrength(chance=0.3), AugmentationStrength(chance=0.0)
        touched = [not np.array_equal(changed(image, mask, n, name, strength=some)[0], image) for n in range(60)]
        assert 0.15 < np.mean(touched) < 0.45, name
        assert np.array_equal(changed(image, mask, 1, name, strength=none)[0], image)


def test_pixel_ranges_follow_the_pixel_type():
    from satseg.models.keras.photometry import PixelRange

    byte, word, real = (PixelRange.of(dtype, MEAN, STD) for dtype in ("uint8", "uint16", "float32"))
    assert (byte.dark, byte.span, byte.bounds) == ((0.0,) * 3, (255.0,) * 3, (0.0, 255.0))
    assert (word.dark, word.span, word.bounds) == ((0.0,) * 3, (180.0, 240.0, 300.0), (0.0, 65535.0))
    assert real.dark == (0.0, -20.0, -40.0)
    assert real.bounds is None
    assert real.airlight == (150.0, 180.0, 210.0)
    assert PixelRange.of("float32", (5.0,), (0.0,)).span == (6.0,)


EVERYTHING = TrainingConfig(
    batch_size=4,
    seed=3,
    augmentations=(
        "flip", "rotate90", "scale", "crop", "brightness", "contrast", "gamma", "band_gain", "blur", "haze", "cutout",
    ),
)  # fmt: skip


def delivered(reader, first, count, threads=None, config=EVERYTHING):
    from satseg.models.keras.input_pipeline import training_batches
    from satseg.models.keras.runtime import tf

    batches = training_batches(reader, config, first, count)
    if threads:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = batches.with_options(options)
    arrays = [(images.numpy(), masks.numpy()) for images, masks in batches]
    return [np.concatenate(part) for part in zip(*arrays, strict=True)]


def test_the_seed_decides_the_batches_whatever_the_threads_the_cache_and_the_start(tmp_path):
    from satseg.models.keras.input_pipeline import WindowReader

    patch_set = random_patch_set(tmp_path)
    windows = patch_set.windows("train")
    streamed, cached = WindowReader(patch_set, windows, 0), WindowReader(patch_set, windows, 1)
    assert (streamed.cached, cached.cached) == (False, True)
    images, masks = delivered(streamed, 0, 24)
    assert len(images) == 24
    assert np.isfinite(images).all()
    same = [delivered(reader, 0, 24, threads) for reader in (streamed, cached) for threads in (1, 7)]
    for other_images, other_masks in same:
        assert np.array_equal(other_images, images)
        assert np.array_equal(other_masks, masks)
    resumed_images, resumed_masks = delivered(streamed, 8, 16)
    assert np.array_equal(resumed_images, images[8:])
    assert np.array_equal(resumed_masks, masks[8:])
    another_seed, _ = delivered(streamed, 0, 24, config=EVERYTHING.model_copy(update={"seed": 4}))
    assert not np.array_equal(another_seed, images)


def random_patch_set(folder) -> PatchSet:
    """A patch set of ten windows of 32 px in two shards."""
    import pandas as pd

    from satseg.patches.patchset import MANIFEST_FILE, PatchSetDescription, Statistics, image_file, mask_file

    rng = np.random.default_rng(2)
    rows = []
    for shard, count in enumerate((6, 4)):
        np.save(folder / image_file(shard), rng.integers(0, 255, (count, 32, 32, 3)).astype(np.uint8))
        np.save(folder / mask_file(shard), rng.integers(0, 2, (count, 32, 32)).astype(np.uint8))
        rows += [
            {"kept": True, "split": "train", "shard": shard, "index": index, "draw_weight": 1 + index % 2}
            for index in range(count)
        ]
    pd.DataFrame(rows).to_parquet(folder / MANIFEST_FILE)
    description = PatchSetDescription.model_construct(shards=[6, 4])
    statistics = Statistics.model_construct(mean=MEAN, std=STD)
    return PatchSet(
        "x", "p", folder, "v1", 32, 3, "uint8", ("building",), ("r", "g", "b"), None, statistics, description
    )
