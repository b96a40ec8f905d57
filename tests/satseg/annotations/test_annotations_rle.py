import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_makers import compressed, encoded
from satseg.annotations.rle import columns, decode_runs

# made by pycocotools 2.0 (mask.encode): a field with a hole, a corner and a last pixel
BLOCKS = (
    "i0<i00i25RM00000000D@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@3`0M@"
    "3`09000000000000000000i=@gB"
)
NOISE = "111030M21NO020N0000020N010O20N11OO23OO0NO10O031M41KO010O0110"


def decoded(counts, height: int, width: int) -> np.ndarray:
    return columns(decode_runs(counts, height * width), height, 0, width).T


def test_text_of_pycocotools_is_read():
    blocks = np.zeros((37, 53), dtype=np.uint8)
    blocks[3:20, 5:40] = 1
    blocks[8:12, 10:30] = 0
    blocks[25:37, 0:2] = 1
    blocks[0, 52] = 1
    assert np.array_equal(decoded(BLOCKS, 37, 53), blocks)
    noise = (np.random.default_rng(5).random((9, 11)) < 0.5).astype(np.uint8)
    assert np.array_equal(decoded(NOISE, 9, 11), noise)


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    cut=st.integers(0, 40),
    part=st.floats(0, 1),
    form=st.sampled_from(["runs", "text"]),
)
def test_columns_anywhere_are_those_of_the_whole(*, seed, height, width, cut, part, form):
    mask = np.random.default_rng(seed).random((height, width)) < part
    runs = decode_runs(encoded(mask, form)["counts"], height * width)
    cut = min(cut, width - 1)
    assert np.array_equal(columns(runs, height, 0, width).T, mask)
    assert np.array_equal(columns(runs, height, cut, width).T, mask[:, cut:])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([3, 4], "sum up to 7 pixels, its size says 12"),
        ([12, 1], "sum up to 13"),
        ([-1, 13], "not a list of pixel counts"),
        ([6.0, 6.0], "not a list of pixel counts"),
        ([True, 11], "not a list of pixel counts"),
        (12, "not a list of pixel counts"),
        (compressed([3, 9])[:-1] + "~~", "character '~'"),
        (compressed([3, 200])[:-1], "end within a number"),
        ("o" * 40, "without end"),
        ("é1", "character 'é'"),
    ],
)
def test_wrong_runs_are_refused(counts, words):
    with pytest.raises(ValueError, match=words):
        decode_runs(counts, 12)
