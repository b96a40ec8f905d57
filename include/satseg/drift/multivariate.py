"""Many features at once: the distance between the mean embeddings of night and reference (maximum mean discrepancy).

In the space where the units' means are white it is the regularised Hotelling distance, which is the separation a linear
classifier of scenes reaches (Lopez-Paz & Oquab, "Revisiting classifier two-sample tests", ICLR 2017): it finds small
shifts of many features together, and combinations that scenes never show. With random Fourier features it is the MMD
with a Gaussian kernel (Gretton et al., "A kernel two-sample test", JMLR 13 (2012); Zhao & Meng, "FastMMD", Neural
Computation 27 (2015)), which also sees changes that leave all means alone.

Both need the units' means only, so any number of permutations costs one matrix product.
"""

import numpy as np
from numpy.typing import NDArray

RIDGE = 0.3
FOURIER_FEATURES = 256
_PAIRS = 2000


def unit_means(values: NDArray[np.floating], units: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return the (U, F) mean of each unit's patches.

    Args:
        values: (N, F) features of patches.
        units: (N,) unit of each patch, 0..U-1; each unit has a patch.
        count: U.
    """
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, units, values)
    means: NDArray[np.float64] = sums / np.bincount(units, minlength=count)[:, None]
    return means


def whitened(values: NDArray[np.floating], units: NDArray[np.intp], ridge: float = RIDGE) -> NDArray[np.float64]:
    """Return (N, F) features turned and scaled so that the units' means vary equally in all directions.

    The ridge, a share of the mean variance, keeps directions quiet in which the few units hardly vary by chance
    (shrinkage of the covariance: Ledoit & Wolf, J. Multivariate Analysis 88 (2004)).
    """
    means = unit_means(values, units, int(units.max()) + 1)
    spread = means.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    centre = means.mean(axis=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(((means - centre) / spread).T)))
    variances = np.maximum(variances, 0.0)
    scale = np.sqrt(variances + max(ridge * float(variances.mean()), 1e-12))
    found: NDArray[np.float64] = ((values - centre) / spread) @ axes / scale
    return found


def fourier_features(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (N, 256) random Fourier features of a Gaussian kernel with the median distance as bandwidth.

    Source: Rahimi & Recht, "Random features for large-scale kernel machines", NIPS 2007.
    """
    spread = values.std(axis=0, dtype=np.float64)
    scaled = (values - values.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1.0)
    first, second = rng.integers(0, len(scaled), (2, _PAIRS))
    distances = np.linalg.norm(scaled[first] - scaled[second], axis=1)
    bandwidth = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    directions = rng.standard_normal((values.shape[1], FOURIER_FEATURES)) / bandwidth
    phases = rng.uniform(0, 2 * np.pi, FOURIER_FEATURES)
    found: NDArray[np.float64] = np.sqrt(2 / FOURIER_FEATURES) * np.cos(scaled @ directions + phases)
    return found


def mean_discrepancies(embedded: NDArray[np.floating], night: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance between the mean of the night's units and that of the others under each assignment.

    Args:
        embedded: (U, D) mean embedding of each unit.
        night: (P, U) bool.

    Returns:
        (P,) distances.
    """
    distances: NDArray[np.float64] = np.linalg.norm(_gaps(embedded, night), axis=1)
    return distances


def along_the_gap(
    embedded: NDArray[np.floating], units: NDArray[np.intp], night: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return for each patch how far it lies on the night's side, (N,).

    Args:
        embedded: (N, D) embedding of each patch.
        units: (N,) unit of each patch.
        night: (U,) bool, the observed assignment.
    """
    gap = _gaps(unit_means(embedded, units, night.size), night[None])[0]
    scores: NDArray[np.float64] = embedded @ gap
    return scores


def _gaps(embedded: NDArray[np.floating], night: NDArray[np.bool_]) -> NDArray[np.float64]:
    chosen = night.astype(np.float64)
    on_night = chosen.sum(axis=1, keepdims=True)
    sums = chosen @ embedded
    gaps: NDArray[np.float64] = sums / on_night - (embedded.sum(axis=0) - sums) / (night.shape[1] - on_night)
    return gaps
