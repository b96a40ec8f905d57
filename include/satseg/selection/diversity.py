"""Choosing windows that are uncertain and unlike each other."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Diversity = Literal["k-center", "k-means++", "none"]


def directions(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return embeddings (N, D) seen from their mean, each of length 1, so that no strong feature rules distances."""
    seen: NDArray[np.float32] = embeddings.astype(np.float32)
    seen -= seen.mean(axis=0)
    lengths = np.linalg.norm(seen, axis=1, keepdims=True)
    seen /= np.maximum(lengths, np.float32(1e-12))
    return seen


def choose(
    embeddings: NDArray[np.floating],
    uncertainty: NDArray[np.float64],
    budget: int,
    how: Diversity = "k-center",
    seed: int = 0,
) -> list[int]:
    """Return the places of up to `budget` of N windows, the most wanted first.

    The first is the most uncertain one. "k-center" then takes the one whose uncertainty times the distance to its
    nearest chosen window is largest (farthest-first traversal, Gonzalez 1985; core-sets, Sener & Savarese, ICLR 2018,
    here weighted); "k-means++" draws by uncertainty times the squared distance (Arthur & Vassilvitskii 2007); "none"
    goes by uncertainty alone.

    Args:
        embeddings: (N, D).
        uncertainty: (N,) ≥ 0.
        budget: how many.
        how: see above.
        seed: of "k-means++".
    """
    count = min(budget, len(uncertainty))
    if how == "none" or count == 0:
        return [int(place) for place in np.argsort(-uncertainty, kind="stable")[:count]]
    seen, rng = directions(embeddings), np.random.default_rng(seed)
    weight = np.maximum(uncertainty, 1e-9)  # windows without doubt come last, but they come
    chosen = [int(weight.argmax())]
    squared = _squared_distances(seen, chosen[0])
    while len(chosen) < count:
        score = weight * (np.sqrt(squared) if how == "k-center" else squared)
        score[chosen] = 0.0
        if not score.any():  # the rest looks exactly like what is chosen
            rest = np.setdiff1d(np.argsort(-weight, kind="stable"), chosen, assume_unique=True)
            chosen += [int(place) for place in rest[: count - len(chosen)]]
            break
        latest = int(score.argmax()) if how == "k-center" else int(rng.choice(score.size, p=score / score.sum()))
        chosen.append(latest)
        np.minimum(squared, _squared_distances(seen, latest), out=squared)
    return chosen


def _squared_distances(seen: NDArray[np.float32], place: int) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = np.maximum(2.0 - 2.0 * (seen @ seen[place]).astype(np.float64), 0.0)
    return squared
