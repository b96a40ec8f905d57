"""Which window is drawn when in a training."""

import numpy as np
from numpy.typing import NDArray


def draw_order(weights: NDArray[np.int64], first: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return which window is drawn at places `first` … `first + count - 1` of the endless training sequence.

    The sequence is made of rounds; in each round every window occurs `weight` times, in an order of its own. Any part
    of it can be computed without what lies before, which is how a resumed training goes on exactly.

    Args:
        weights: (N,) draws of each window per round.
        first: place, from 0.
        count: number of places.
        seed: of the order.
    """
    pool = np.repeat(np.arange(len(weights)), weights)
    rounds = range(first // len(pool), (first + count - 1) // len(pool) + 1)
    order = np.concatenate([np.random.default_rng((seed, number)).permutation(pool) for number in rounds])
    start = first - rounds.start * len(pool)
    return order[start : start + count]
