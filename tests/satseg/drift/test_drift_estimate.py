"""The label-free IoU: what it is made of, that it learns, and that it says when it does not know."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from satseg.drift.estimate import (
    Estimator,
    Trial,
    View,
    _Process,
    curves_of,
    joined,
    mean_iou,
    promised_counts,
    rising,
    true_counts,
    viewed,
)
from satseg.drift.simulated import KINDS, UNCHANGED, picture_statistics, simulated_changes


def piece(seed: int, fooled: float, brightness: float, labelled: bool = True) -> View:
    """Return ground on which the model is as sure as ever, but a part `fooled` of what it is sure of is wrong."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.4, 0.4, (4000, 1)).astype(np.float32)
    truth = rng.random(4000) < chances[:, 0]
    swapped = rng.random(4000) < fooled
    labels = np.where(swapped, rng.random(4000) < 0.3, truth).astype(np.uint8)
    return viewed(
        chances, (chances[:, 0] >= 0.5).astype(np.uint8), labels if labelled else None, np.array([brightness])
    )


def test_the_calibration_curve_is_isotonic_regression() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 500, 20).astype(float)
    share = np.clip(np.linspace(0, 1, 20) ** 2 + rng.normal(0, 0.15, 20), 0, 1)
    expected = IsotonicRegression().fit_transform(np.arange(20), share, sample_weight=pixels)
    np.testing.assert_allclose(rising(pixels, pixels * share), expected, atol=1e-9)


def test_bins_without_pixels_keep_the_curve_rising() -> None:
    curve = rising(np.array([100.0, 0, 0, 100]), np.array([0.0, 0, 0, 100]))
    assert curve.size == 4
    assert (np.diff(curve) >= 0).all()


def test_counts_of_a_view_are_those_of_its_pixels() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet((1, 1, 1), 500).astype(np.float32)[:, 1:]
    mapped, labels = rng.integers(0, 3, (2, 500)).astype(np.uint8)
    view = viewed(probabilities, mapped, labels, np.zeros(2))
    for number in (1, 2):
        found, truth = mapped == number, labels == number
        expected = [(truth & found).sum(), (~truth & found).sum(), (truth & ~found).sum(), (~truth & ~found).sum()]
        assert true_counts(view)[number - 1].tolist() == expected
    halves = [
        viewed(probabilities[p], mapped[p], labels[p], np.full(2, k))
        for k, p in ((0, slice(250)), (1, slice(250, 500)))
    ]
    np.testing.assert_allclose(true_counts(joined(halves)), true_counts(view))
    assert joined(halves).picture.tolist() == [0.5, 0.5]


def test_where_calibration_holds_the_promise_is_the_truth() -> None:
    views = [piece(seed, 0.0, 0.0) for seed in range(30)]
    curves = curves_of(views)
    promise, truth = (
        mean_iou(counts[None])[0]
        for counts in (
            np.sum([promised_counts(view, curves) for view in views], axis=0),
            np.sum([true_counts(view) for view in views], axis=0),
        )
    )
    assert promise == pytest.approx(truth, abs=0.01)


def darkened(fooled_per_step: float = 0.1) -> list[Trial]:
    """Return trials of nine units: the darker, the more the model is fooled, in three kinds."""
    levels = [(UNCHANGED, 0.0), *((kind, level) for kind in ("dusk", "shade", "night") for level in (1.0, 2.0, 3.0))]
    return [
        Trial(kind, tuple(piece(100 * number + unit, fooled_per_step * level, -level) for unit in range(9)))
        for number, (kind, level) in enumerate(levels)
    ]


def test_it_learns_how_far_the_promise_is_off() -> None:
    estimator = Estimator(darkened())
    for level in (0.0, 1.5, 2.5):
        ground = [piece(5000 + unit, 0.1 * level, -level) for unit in range(3)]
        truth = float(mean_iou(np.sum([true_counts(view) for view in ground], axis=0)[None])[0])
        blind = [piece(5000 + unit, 0.1 * level, -level, labelled=False) for unit in range(3)]
        found = estimator.estimate(blind)
        assert found.value == pytest.approx(truth, abs=0.05)
        assert found.low is not None and found.high is not None
        assert found.low <= truth <= found.high
    assert estimator.promise(ground) - truth > 0.08  # what the correction takes away


def test_what_looks_like_nothing_known_gets_a_wide_interval() -> None:
    estimator = Estimator(darkened())
    known, strange = (estimator.estimate([piece(7, 0.0, brightness, labelled=False)]) for brightness in (-1.0, 60.0))
    widths = [(one.high or 0) - (one.low or 0) for one in (known, strange)]
    assert widths[1] > 2 * widths[0]


def test_nothing_seen_is_no_estimate_and_two_units_are_too_few() -> None:
    assert Estimator(darkened()).estimate([]).value is None
    with pytest.raises(ValueError, match="2 units"):
        Estimator([Trial(UNCHANGED, (piece(0, 0, 0), piece(1, 0, 0)))])


def test_the_process_is_the_textbooks() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    rng = np.random.default_rng(3)
    seen, targets, places = rng.normal(size=(20, 3)), rng.normal(size=20), rng.normal(size=(5, 3))
    process = _Process(seen, targets, 2.0, 0.2)
    kernel = ConstantKernel(targets.var(), "fixed") * RBF(2.0 * np.sqrt(3), "fixed")  # ours averages over dimensions
    reference = GaussianProcessRegressor(kernel, alpha=0.04, optimizer=None).fit(seen, targets - targets.mean())
    mean, deviation = reference.predict(places, return_std=True)
    found = process.at(places)
    np.testing.assert_allclose(found[0], mean + targets.mean(), atol=1e-6)
    np.testing.assert_allclose(found[1], np.sqrt(deviation**2 + 0.04), atol=1e-6)


def scene() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(60, 180, (64, 64, 3)).astype(np.uint8)


def test_each_kind_of_change_does_what_it_is_called() -> None:
    from satseg.drift.features import patch_features

    bands = ("red", "green", "blue")
    changes = {kind: [one for one in simulated_changes() if one.kind == kind] for kind in (UNCHANGED, *KINDS, "two")}
    assert all(changes.values())
    whole = np.ones((64, 64), bool)

    def seen(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        return picture_statistics(patch_features(pixels, whole, bands)[None], bands)

    before = seen(scene())
    for kind in KINDS:
        changed = changes[kind][-1].apply(scene(), 255.0, seed=1)
        assert (changed.dtype, changed.shape) == (np.uint8, (64, 64, 3))
        assert np.abs(seen(changed) - before).max() > 0.01, kind
        np.testing.assert_array_equal(changed, changes[kind][-1].apply(scene(), 255.0, seed=1))
    sharper, noisier = -3, -1
    assert seen(changes["blur"][-1].apply(scene(), 255.0, 0))[sharper] < before[sharper]
    assert seen(changes["noise"][-1].apply(scene(), 255.0, 0))[noisier] > before[noisier]
