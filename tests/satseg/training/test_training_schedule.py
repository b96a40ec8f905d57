import math

import pytest

from satseg.training.schedule import learning_rate


def test_rate_rises_linearly_to_the_peak_and_falls_as_half_a_cosine():
    assert learning_rate(0.05, 1.0, 0.1) == pytest.approx(0.5)
    assert learning_rate(0.1, 1.0, 0.1) == pytest.approx(1.0)
    assert learning_rate(0.55, 1.0, 0.1) == pytest.approx(0.5)
    assert learning_rate(0.775, 2.0, 0.1) == pytest.approx(1 + math.cos(0.75 * math.pi))
    assert learning_rate(1.0, 1.0, 0.1) == pytest.approx(0.0)


def test_rate_stays_in_range_without_warm_up_and_beyond_the_end():
    assert learning_rate(0.0, 1e-3, 0.0) == pytest.approx(1e-3)
    assert learning_rate(1.5, 1e-3, 0.0) == pytest.approx(0.0)
    assert learning_rate(1.0, 1e-3, 1.0) == pytest.approx(1e-3)
