import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from satseg.scenes.histogram import percentiles

PERCENTS = (0.0, 0.01, 2.0, 37.5, 50.0, 98.0, 100.0)


def streamed(bands: list[np.ndarray], strip: int = 7) -> list[list[float]]:
    def passes():
        for start in range(0, max(map(len, bands)), strip):
            yield [band[start : start + strip] for band in bands]

    return percentiles(passes, [str(band.dtype) for band in bands], PERCENTS)


def reference(band: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(band, PERCENTS, method="inverted_cdf")]


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    st.integers(1, 40),
)
def test_percentiles_are_those_of_all_values_together(data, dtype, strip):
    elements = st.floats(width=32, allow_nan=False, allow_infinity=False) if dtype == "float32" else None
    band = data.draw(arrays.arrays(dtype, st.integers(1, 300), elements=elements))
    assert streamed([band], strip) == [reference(band)]


def test_each_band_has_its_own():
    random = np.random.default_rng(3)
    bands = [
        random.normal(0, 1e-3, 5000).astype(np.float32),
        random.normal(-4e4, 1e4, 5000).astype(np.float32),
        random.integers(-30_000, 30_000, 4000).astype(np.int16),
    ]
    assert streamed(bands, 999) == [reference(band) for band in bands]


def test_a_band_without_values_is_refused():
    with pytest.raises(ValueError, match="no percentiles"):
        streamed([np.ones(3, np.uint8), np.ones(0, np.uint8)])
