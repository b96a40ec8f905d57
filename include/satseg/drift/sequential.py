"""From one night to many: the level of a night at which a quiet period raises no confirmed alarm, at the asked rate.

Night t is compared with everything seen so far in the period: the reference and the scenes of its earlier nights. When
all these scenes are exchangeable (nothing drifted), the night is a random choice of its scenes among them, whatever the
earlier nights' p-values were and whatever comes later. So the p-values of the nights are independent and valid, each at
most a with probability at most a, although they share one reference (Vovk, Gammerman & Shafer, "Algorithmic learning in
a random world", 2nd ed. 2022, section 11.2: online conformal p-values; here for groups of scenes).

The chance that k of n consecutive nights alarm anywhere in N nights is then that of N coin throws, which is computed
exactly (a scan statistic; Fu & Koutras, "Distribution theory of runs", JASA 89 (1994)). The night's level is the
largest one at which it is the asked rate. Comparing every night with the bare reference would not do: an unlucky
reference makes all nights alarm together.
"""

from functools import lru_cache

EXACT_WINDOW = 10  # nights; the states grow with its power set
_STEPS = 40
_ROUNDING = 1e-12


def confirmation_chance(level: float, nights: int, k: int, n: int) -> float:
    """Return the chance that k of n consecutive nights alarm somewhere in `nights` quiet ones.

    Exact for windows of up to 10 nights; beyond, an upper bound by Markov's inequality.
    """
    if n > EXACT_WINDOW:
        return min(1.0, nights * level / k)
    latest = {0: 1.0}  # which of the last n - 1 nights alarmed, as bits: chance, without any confirmed alarm so far
    for _ in range(nights):
        after: dict[int, float] = {}
        for alarms, chance in latest.items():
            kept = (alarms << 1) & ((1 << (n - 1)) - 1)
            after[kept] = after.get(kept, 0.0) + chance * (1 - level)
            if alarms.bit_count() + 1 < k:
                moved = ((alarms << 1) | 1) & ((1 << (n - 1)) - 1)
                after[moved] = after.get(moved, 0.0) + chance * level
        latest = after
    return max(0.0, 1 - sum(latest.values()))


@lru_cache(maxsize=64)
def night_level(rate: float, nights: int, k: int, n: int) -> float:
    """Return the level of one night at which a quiet period of `nights` raises a confirmed alarm at most at the rate.

    It is never above the rate, so that single nights keep it too.
    """
    low, high = 0.0, rate
    if confirmation_chance(rate, nights, k, n) <= rate + _ROUNDING:
        return rate
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if confirmation_chance(middle, nights, k, n) <= rate:
            low = middle
        else:
            high = middle
    return low
