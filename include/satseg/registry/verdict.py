"""When a measured difference is a verdict, and when there is not enough evidence for one.

A non-inferiority test (Wellek 2010, "Testing Statistical Hypotheses of Equivalence and Noninferiority", chapter 1) with
three outcomes, on the 95% interval of the paired difference over spatial blocks:

- the interval lies above minus the margin: not worse. One that is worse by the margin gets so in at most 2.5%.
- it lies below: worse.
- it holds minus the margin: worse all the same if there are blocks enough that an equally good model would hardly ever
  end here, over all comparisons of a promotion together in at most 2.5%; otherwise nobody can tell yet.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

from satseg.stages import Interval

REFUSED_BY_CHANCE = 0.025  # of equally good models, over all comparisons together

Outcome = Literal["passed", "failed", "not enough evidence"]


@dataclass(frozen=True)
class Finding:
    """The outcome of a comparison, and how many blocks a verdict needs."""

    outcome: Outcome
    blocks_needed: int


def verdict(difference: Interval, margin: float, min_blocks: int, comparisons: int = 1) -> Finding:
    """Judge a difference (challenger minus champion) by its interval.

    Args:
        difference: with its interval over blocks.
        margin: how much worse is still as good, > 0 or 0.
        min_blocks: with fewer blocks intervals are not to be trusted.
        comparisons: how many are made in the same promotion; more of them need more blocks each.
    """
    needed = max(min_blocks, blocks_needed(difference, margin, comparisons))
    low, high = difference.low, difference.high
    if low is None or high is None or difference.blocks < min_blocks:
        return Finding("not enough evidence", needed)
    if low >= -margin:
        return Finding("passed", needed)
    if high < -margin or difference.blocks >= needed:
        return Finding("failed", needed)
    return Finding("not enough evidence", needed)


def blocks_needed(difference: Interval, margin: float, comparisons: int = 1) -> int:
    """Return the blocks at which an equally good model passes all comparisons in 97.5%; 0 where nothing is known.

    The half width of an interval shrinks with the root of the number of blocks.
    """
    if difference.low is None or difference.high is None or difference.low == difference.high:
        return 0
    half = (difference.high - difference.low) / 2
    inside = ndtri((1 + difference.level) / 2)
    reach = half * (1 + ndtri(1 - REFUSED_BY_CHANCE / comparisons) / inside)
    if margin <= 0:
        return 10**9  # no number of blocks shows that a model is not worse by anything at all
    return math.ceil(difference.blocks * float(reach / margin) ** 2)
