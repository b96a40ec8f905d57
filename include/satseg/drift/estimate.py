"""The IoU of maps without labels, with an interval that knows how far such estimates have been off.

Two steps. Calibrated probabilities promise counts TP, FP, FN, and so an IoU: confidence-based estimation. Drift breaks
calibration, as a rule towards too high. So the promise is corrected by what it was worth when the truth was known: the
champion's held-out ground is shown to it again under simulated changes, and a Gaussian process learns the gap between
true and promised IoU (both as log-odds) from what can be seen without labels. Where a night looks like nothing of this,
the process falls back to the mean gap and a wide interval. The interval is scaled until it holds the truth as often as
it says on changes of a kind, and on ground, that the process has not seen.

Sources: Deng & Zheng, "Are labels always necessary for classifier accuracy evaluation?", CVPR 2021 (learning accuracy
from synthetic shifts); Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021; Rasmussen &
Williams 2006, algorithm 2.1; Papadopoulos et al. 2011 (normalised conformal prediction).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, logit

from satseg.evaluation.intervals import class_mean, iou
from satseg.stages import Interval

BINS = 50
MAPPED = 1  # of the last axis of a view's counts: pixels mapped as the class
_SPLITS, _GROUPS = 4, 3
_EDGE = 1e-3  # IoUs nearer to 0 or 1 are all the same as log-odds
_LENGTHS = (1.0, 2.0, 4.0, 8.0)  # of the process, in standard deviations of a statistic
_NOISES = (0.02, 0.05, 0.1, 0.2, 0.4)  # standard deviations in log-odds
mean_iou = class_mean(iou)


@dataclass(frozen=True)
class View:
    """What is seen of a piece of ground: counts of its pixels, and its picture.

    Attributes:
        pixels: (classes, BINS, 2) pixels by probability and by whether they are mapped as the class.
        labelled: the same of the pixels labelled as the class; None without labels.
        picture: (F,) features of its pixels, comparable between pieces.
    """

    pixels: NDArray[np.float64]
    labelled: NDArray[np.float64] | None
    picture: NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """The held-out ground under one simulated change: a view of each unit, and the kind of change."""

    kind: str
    views: tuple[View, ...]


def viewed(
    probabilities: NDArray[np.float32],
    mapped: NDArray[np.uint8],
    labels: NDArray[np.uint8] | None,
    picture: NDArray[np.floating],
) -> View:
    """Describe N pixels: probabilities (N, classes) without background, class ids mapped and labelled (N,)."""
    count = probabilities.shape[1]
    pixels, labelled = np.zeros((count, BINS, 2)), np.zeros((count, BINS, 2))
    for number in range(count):
        bins = np.minimum((probabilities[:, number] * BINS).astype(np.intp), BINS - 1)
        places = bins * 2 + (mapped == number + 1)
        pixels[number] = np.bincount(places, minlength=2 * BINS).reshape(BINS, 2)
        if labels is not None:
            labelled[number] = np.bincount(places, labels == number + 1, minlength=2 * BINS).reshape(BINS, 2)
    return View(pixels, None if labels is None else labelled, np.asarray(picture, np.float64))


def joined(views: Sequence[View]) -> View:
    """Return several pieces as one; pictures count by their pixels."""
    weights = np.array([view.pixels[0].sum() for view in views])
    labelled = None if any(view.labelled is None for view in views) else sum(_labelled(view) for view in views)
    picture = np.average([view.picture for view in views], axis=0, weights=np.maximum(weights, 1e-9))
    return View(np.sum([view.pixels for view in views], axis=0), labelled, picture)  # type: ignore[arg-type]


def curves_of(views: Sequence[View]) -> NDArray[np.float64]:
    """Return the share of labelled pixels by probability of each class, never falling: (classes, BINS)."""
    pixels = np.sum([view.pixels for view in views], axis=0).sum(axis=-1)
    labelled = np.sum([_labelled(view) for view in views], axis=0).sum(axis=-1)
    return np.stack([rising(*counts) for counts in zip(pixels, labelled, strict=True)])


def rising(pixels: NDArray[np.float64], labelled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of labelled pixels in each of some bins of the probability, never falling.

    Source: isotonic regression by pooling adjacent violators (Zadrozny & Elkan, KDD 2002), on bins.
    """
    pools: list[list[float]] = []  # pixels, labelled, bins
    for place, (count, of_class) in enumerate(zip(pixels.tolist(), labelled.tolist(), strict=True)):
        # a bin without pixels keeps its own middle, with the weight of a hundredth of a pixel
        weight = max(count, 0.01)
        share = of_class / count if count else (place + 0.5) / len(pixels)
        pools.append([weight, weight * share, 1])
        while len(pools) > 1 and pools[-2][1] / pools[-2][0] >= pools[-1][1] / pools[-1][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    return np.concatenate([np.full(int(count), of_class / weight) for weight, of_class, count in pools])


def promised_counts(view: View, curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return expected TP, FP, FN, TN of each class, (classes, 4), if the curves held."""
    likely = view.pixels * curves[..., None]
    return _counts(view.pixels, likely)


def true_counts(view: View) -> NDArray[np.float64]:
    """Return TP, FP, FN, TN of each class of labelled ground, (classes, 4)."""
    return _counts(view.pixels, _labelled(view))


class Estimator:
    """Estimates IoUs of a champion, having been shown its held-out ground under simulated changes."""

    def __init__(
        self,
        trials: Sequence[Trial],
        level: float = 0.95,
        seed: int = 0,
        curves: NDArray[np.float64] | None = None,
    ) -> None:
        """Learn from trials whose views are labelled, the same units in each; at least three units.

        Args:
            trials: one of them of kind "none".
            level: how often the interval shall hold the truth.
            seed: of the groups of units.
            curves: (classes, BINS) calibration of the maps to be judged; default: that of the unchanged trial.

        Raises:
            ValueError: too few units.
        """
        units = len(trials[0].views)
        if units < _GROUPS:
            raise ValueError(f"{units} units of held-out ground; an estimate needs {_GROUPS}")
        as_it_was = next((trial for trial in trials if trial.kind == "none"), trials[0])
        self._curves, self._level = curves_of(as_it_was.views) if curves is None else curves, level
        groups = _groups(units, seed)
        seen, gaps, kinds = [], [], []
        for group in groups:
            # calibrated on the rest, as a night's ground is new to the calibration too
            curves = curves_of([view for unit, view in enumerate(as_it_was.views) if unit not in group])
            for trial in trials:
                view = joined([trial.views[unit] for unit in group])
                promise = _odds(promised_counts(view, curves))
                seen.append(_statistics(view, promise))
                gaps.append(_odds(true_counts(view)) - promise)
                kinds.append(trial.kind)
        values, targets = np.array(seen), np.array(gaps)
        self._middle, self._spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
        scaled = (values - self._middle) / self._spread
        self._process = _Process.best(scaled, targets)
        of_group = np.repeat(np.arange(len(groups)), len(trials))
        self.stretch = _stretch(scaled, targets, np.array(kinds), [groups[place] for place in of_group], level)

    def promise(self, views: Sequence[View]) -> float:
        """Return the IoU that the calibrated probabilities promise, uncorrected."""
        return float(expit(_odds(promised_counts(joined(views), self._curves))))

    def estimate(self, views: Sequence[View]) -> Interval:
        """Return the IoU of ground without labels; `blocks` is the number of views."""
        if not views or not sum(view.pixels.sum() for view in views):
            return Interval(value=None, low=None, high=None, level=self._level, blocks=0, warning="nothing to measure")
        view = joined(views)
        promise = _odds(promised_counts(view, self._curves))
        scaled = (_statistics(view, promise) - self._middle) / self._spread
        gap, deviation = self._process.at(scaled[None])
        middle, half = promise + float(gap[0]), self.stretch * float(deviation[0])
        value, low, high = (float(expit(odds)) for odds in (middle, middle - half, middle + half))
        return Interval(value=value, low=low, high=high, level=self._level, blocks=len(views))


def _groups(units: int, seed: int) -> list[frozenset[int]]:
    """Return random thirds of the units, dealt several times."""
    rng = np.random.default_rng(seed)
    dealt = [np.array_split(rng.permutation(units), _GROUPS) for _ in range(_SPLITS)]
    return [frozenset(part.tolist()) for parts in dealt for part in parts]


def _statistics(view: View, promise: float) -> NDArray[np.float64]:
    """Return what speaks of the gap without labels: promise, confidence, share mapped, and the picture."""
    middles = (np.arange(BINS) + 0.5) / BINS
    pixels = np.maximum(view.pixels.sum(axis=(1, 2)), 1.0)
    sure = (view.pixels.sum(axis=-1) * np.maximum(middles, 1 - middles)).sum(axis=1) / pixels
    share = view.pixels[..., MAPPED].sum(axis=1) / pixels
    return np.concatenate([[promise, float(sure.mean()), float(share.mean())], view.picture])


def _stretch(
    seen: NDArray[np.float64],
    gaps: NDArray[np.float64],
    kinds: NDArray[np.str_],
    groups: Sequence[frozenset[int]],
    level: float,
) -> float:
    """Return how many of the process's deviations hold the gap so often, on ground and changes it was not shown."""
    ratios = []
    for group in dict.fromkeys(groups):
        elsewhere = np.array([not group & other for other in groups])
        here = np.array([group == other for other in groups])
        for kind in np.unique(kinds):
            held, kept = here & (kinds == kind), elsewhere & (kinds != kind)
            middle, deviation = _Process.best(seen[kept], gaps[kept]).at(seen[held])
            ratios += (np.abs(gaps[held] - middle) / deviation).tolist()
    rank = min(1.0, level * (1 + 1 / len(ratios)))
    return float(np.quantile(ratios, rank, method="higher"))


class _Process:
    """A Gaussian process with one length for all statistics, around the mean of what it was given."""

    def __init__(
        self,
        seen: NDArray[np.float64],
        targets: NDArray[np.float64],
        length: float,
        noise: float,
        apart: NDArray[np.float64] | None = None,
    ) -> None:
        """Learn; `apart` are the squared distances of what was seen, where they are known already."""
        self._seen, self._length, self._noise = seen, length, noise
        self._mean = float(targets.mean())
        centred = targets - self._mean
        self._variance = max(float(centred @ centred) / len(centred), 1e-6)
        kernel = self._kernel(_apart(seen, seen) if apart is None else apart) + noise**2 * np.eye(len(seen))
        self._factor = cho_factor(kernel, lower=True)
        self._weights = cho_solve(self._factor, centred)
        self.evidence = float(-0.5 * centred @ self._weights - np.log(np.diag(self._factor[0])).sum())

    @classmethod
    def best(cls, seen: NDArray[np.float64], targets: NDArray[np.float64]) -> "_Process":
        """Return the process of the length and noise that make what was seen most likely."""
        apart = _apart(seen, seen)
        tried = (cls(seen, targets, length, noise, apart) for length in _LENGTHS for noise in _NOISES)
        return max(tried, key=lambda process: process.evidence)

    def at(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of new targets at (M, D) places."""
        across = self._kernel(_apart(places, self._seen))
        mean = self._mean + across @ self._weights
        explained = np.einsum("mn,nm->m", across, cho_solve(self._factor, across.T))
        variance = np.maximum(self._variance - explained, 0.0) + self._noise**2
        return mean, np.sqrt(variance)

    def _kernel(self, apart: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel: NDArray[np.float64] = self._variance * np.exp(-0.5 * apart / self._length**2)
        return kernel


def _apart(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distances of (M, D) and (N, D) places, averaged over the statistics: (M, N)."""
    squares = (places**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None]
    apart: NDArray[np.float64] = np.maximum(squares - 2 * places @ others.T, 0.0) / places.shape[1]
    return apart


def _counts(pixels: NDArray[np.float64], of_class: NDArray[np.float64]) -> NDArray[np.float64]:
    found, missed = of_class[..., MAPPED].sum(axis=1), of_class[..., 1 - MAPPED].sum(axis=1)
    mapped, left = pixels[..., MAPPED].sum(axis=1), pixels[..., 1 - MAPPED].sum(axis=1)
    return np.stack([found, mapped - found, missed, left - missed], axis=-1)


def _odds(counts: NDArray[np.float64]) -> float:
    value = float(np.nan_to_num(mean_iou(counts[None])[0]))
    return float(logit(np.clip(value, _EDGE, 1 - _EDGE)))


def _labelled(view: View) -> NDArray[np.float64]:
    if view.labelled is None:
        raise ValueError("this ground has no labels")
    return view.labelled
