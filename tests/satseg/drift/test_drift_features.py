import cv2
import numpy as np
import pytest
from scipy import stats

from satseg.drift.features import feature_names, kind_of, patch_features, spectrum
from satseg.drift.words import change_in_words, shift_in_iqr

RGB = ("red", "green", "blue")


def described(pixels: np.ndarray, valid: np.ndarray | None = None, bands: tuple[str, ...] = RGB) -> dict[str, float]:
    valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
    return dict(zip(feature_names(bands), patch_features(pixels, valid, bands).tolist(), strict=True))


@pytest.fixture
def patch() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, (64, 64, 3))
    return np.clip(110 + cv2.GaussianBlur(noise, (0, 0), 1.5) * 4, 0, 255).astype(np.uint8)


def test_features_equal_their_definitions(patch: np.ndarray) -> None:
    values = described(patch)
    red, green, blue = (patch[..., band].astype(float) for band in range(3))
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    assert values["mean_green"] == pytest.approx(green.mean(), rel=1e-5)
    assert values["std_blue"] == pytest.approx(blue.std(), rel=1e-5)
    assert values["luminance_p95"] == pytest.approx(np.percentile(luminance, 95), rel=1e-4)
    assert values["excess_green"] == pytest.approx(
        (2 * green - red - blue).mean() / (red + green + blue).mean(), abs=1e-5
    )
    padded = np.pad(luminance, 1, mode="reflect")
    curvature = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * luminance
    assert values["laplacian_variance"] == pytest.approx(curvature.var(), rel=1e-3)


def test_a_ramp_has_its_slope_as_gradient() -> None:
    ramp = np.repeat((3 * np.arange(32, dtype=np.uint8))[None, :, None], 32, axis=0).repeat(3, axis=2)
    assert described(ramp)["gradient_mean"] == pytest.approx(3 * 30 / 32, rel=1e-3)  # 0 in the two mirrored columns


def test_nodata_changes_nothing_but_what_it_covers(patch: np.ndarray) -> None:
    valid = np.ones((64, 64), bool)
    valid[:, 40:] = False
    spoiled = patch.copy()
    spoiled[:, 40:] = 255
    covered, elsewhere = described(spoiled, valid), described(patch[:, :40])
    for name in ("mean_red", "std_red", "luminance_p05", "saturated_fraction", "excess_green"):
        assert covered[name] == pytest.approx(elsewhere[name], rel=1e-5)
    assert covered["gradient_mean"] == pytest.approx(described(patch)["gradient_mean"], rel=0.1)


def test_blur_and_noise_move_the_texture_features_in_opposite_directions(patch: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 12, patch.shape)
    noisy = described(np.clip(patch + noise, 0, 255).astype(np.uint8))
    blurred, plain = described(cv2.GaussianBlur(patch, (0, 0), 2)), described(patch)
    for name in ("gradient_mean", "laplacian_variance", "spectral_slope"):
        assert blurred[name] < plain[name] < noisy[name]


def test_spectral_slope_recovers_a_known_power_law() -> None:
    rng = np.random.default_rng(0)
    radius = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :])
    radius[0, 0] = np.inf
    slopes = [
        spectrum(np.fft.irfft2(np.exp(2j * np.pi * rng.random(radius.shape)) / radius).astype(np.float32))[0]
        for _ in range(10)
    ]
    assert np.mean(slopes) == pytest.approx(-2.0, abs=0.2)  # amplitude 1/f is power 1/f²


def test_spectral_slope_does_not_depend_on_the_unit_of_the_pixels(patch: np.ndarray) -> None:
    counts = patch[..., 0].astype(np.float32)
    assert spectrum(counts / 1e6) == pytest.approx(spectrum(counts), rel=1e-3)


def test_spectral_entropy_tells_one_wave_from_white_noise() -> None:
    wave = np.sin(np.arange(64) * 2 * np.pi / 8)[None, :].repeat(64, 0).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    assert spectrum(wave)[1] < 0.3
    assert 0.8 < spectrum(noise)[1] <= 1.0


@pytest.mark.parametrize("deviation", [3.0, 10.0])
def test_noise_level_is_the_noise_and_not_the_roofs(deviation: float) -> None:
    roofs = np.zeros((128, 128))
    roofs[20:60, 30:90] = 90
    noise = np.random.default_rng(0).normal(0, deviation, (128, 128))
    values = described((80 + roofs + noise)[..., None].astype(np.float32), bands=("pan",))
    assert values["noise_level"] == pytest.approx(deviation, rel=0.08)


def test_skewness_and_shares_equal_their_definitions(patch: np.ndarray) -> None:
    values = described(patch)
    luminance = patch.astype(float) @ np.array([0.299, 0.587, 0.114])
    assert values["luminance_skewness"] == pytest.approx(stats.skew(luminance.ravel()), rel=1e-3)
    assert values["luminance_p50"] == pytest.approx(np.median(luminance), rel=1e-4)
    means = patch.reshape(-1, 3).mean(axis=0)
    assert [values[f"share_{band}"] for band in RGB] == pytest.approx(list(means / means.sum()), rel=1e-5)


def test_every_feature_is_of_one_kind() -> None:
    assert kind_of("noise_level") == "texture"
    assert kind_of("share_red") == kind_of("mean_nir") == "radiometric"


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_constant_patch_gives_finite_features(value: int) -> None:
    values = described(np.full((32, 32, 3), value, np.uint8))
    assert np.isfinite(list(values.values())).all()
    assert values["spectral_slope"] == values["spectral_entropy"] == values["luminance_skewness"] == 0
    assert values["saturated_fraction"] == (value == 255)


def test_other_band_sets_get_features_of_their_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (32, 32, 4)).astype(np.uint16)
    assert "ndvi" in described(pixels, bands=("blue", "green", "red", "nir"))
    assert "band_ratio" in described(pixels, bands=("a", "b", "c", "d"))
    grey = described(pixels[..., :1].astype(np.float32), bands=("pan",))
    assert set(grey) & {"ndvi", "excess_green", "band_ratio"} == set()
    assert grey["saturated_fraction"] == 0


def test_ndvi_is_that_of_the_mean_reflectances() -> None:
    pixels = np.dstack([np.full((32, 32), 100.0), np.full((32, 32), 300.0)]).astype(np.float32)
    assert described(pixels, bands=("red", "nir"))["ndvi"] == pytest.approx(0.5)


def test_shift_is_in_interquartile_ranges_of_the_reference() -> None:
    reference = np.arange(101, dtype=np.float32)
    assert shift_in_iqr(reference, reference + 25) == pytest.approx(0.5)


def test_shift_of_a_feature_that_is_mostly_one_value_is_still_finite_and_signed() -> None:
    reference = np.zeros(50)
    assert shift_in_iqr(reference, np.array([0.0, 0.0, 0.4])) > 0
    assert shift_in_iqr(reference, np.zeros(4)) == 0


def test_changes_are_told_in_words() -> None:
    assert change_in_words("mean_red", 0.84, 0.5) == "brighter in red by 0.8 IQR"
    assert change_in_words("laplacian_variance", -2.0, 0.9) == "blurrier by 2.0 IQR"
    assert "other spread" in change_in_words("std_nir", 0.02, 0.4)
    assert change_in_words("std_nir", 0.02, 0.05) == "unchanged"
