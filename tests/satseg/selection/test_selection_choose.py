"""Which windows are chosen: doubt, variety, and memory that does not grow."""

import numpy as np
import pytest

from satseg.models.uncertainty import pixel_entropy, pixel_margin, window_uncertainty
from satseg.selection.candidates import Candidate, Frame, Place, Pool
from satseg.selection.diversity import choose, directions


def test_entropy_and_margin_are_one_where_all_classes_are_alike_and_zero_where_one_is_sure() -> None:
    one_class = np.array([0.5, 0.0, 1.0], np.float32)[:, None]
    np.testing.assert_allclose(pixel_entropy(one_class), [1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(pixel_margin(one_class), [1, 0, 0], atol=1e-6)
    three = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [0.7, 0.2, 0.1]], np.float32)
    np.testing.assert_allclose(pixel_entropy(three), [1, np.log(2) / np.log(3), 0.7298], atol=1e-4)
    np.testing.assert_allclose(pixel_margin(three), [1, 1, 0.5], atol=1e-6)


def test_pixels_without_data_do_not_count() -> None:
    probabilities = np.array([[0.5, 1.0]], np.float32)[..., None]
    assert window_uncertainty(probabilities, np.array([[True, False]])) == pytest.approx(1.0)
    assert window_uncertainty(probabilities, np.zeros((1, 2), bool)) == 0.0


def test_k_center_follows_its_definition() -> None:
    rng = np.random.default_rng(1)
    embeddings, doubt = rng.normal(size=(60, 8)), rng.uniform(0.1, 1.0, 60)
    seen = directions(embeddings)
    expected = [int(doubt.argmax())]
    while len(expected) < 7:
        apart = np.linalg.norm(seen[:, None] - seen[expected][None], axis=2).min(axis=1)
        score = doubt * apart
        score[expected] = -1
        expected.append(int(score.argmax()))
    assert choose(embeddings, doubt, 7, "k-center") == expected


@pytest.mark.parametrize("how", ["k-center", "k-means++"])
def test_variety_takes_one_of_each_kind_where_doubt_alone_takes_one_kind(how: str) -> None:
    rng = np.random.default_rng(2)
    kinds = np.repeat(np.eye(4), 25, axis=0) + rng.normal(0, 0.01, (100, 4))
    doubt = np.repeat([0.9, 0.6, 0.6, 0.6], 25) + rng.uniform(0, 0.01, 100)
    chosen = choose(kinds, doubt, 4, how)  # type: ignore[arg-type]
    assert sorted(place // 25 for place in chosen) == [0, 1, 2, 3]
    assert {place // 25 for place in choose(kinds, doubt, 4, "none")} == {0}


@pytest.mark.parametrize("how", ["k-center", "k-means++", "none"])
def test_a_budget_beyond_the_candidates_takes_all_once_twins_too(how: str) -> None:
    assert sorted(choose(np.ones((5, 3)), np.zeros(5), 9, how)) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    assert choose(np.empty((0, 3)), np.empty(0), 3, how) == []  # type: ignore[arg-type]


def candidate(number: int, doubt: float) -> Candidate:
    return Candidate(Place("town", number, 0, 64, 64), doubt, np.zeros(4, np.float16))


def test_a_full_pool_is_a_sample_by_doubt_that_the_order_does_not_change() -> None:
    doubts = np.where(np.arange(2000) % 2 == 0, 0.9, 0.1)
    kept = []
    for order in (range(2000), reversed(range(2000))):
        pool = Pool(200, seed=0)
        for number in order:
            pool.offer(candidate(number, float(doubts[number])), "ab" * 32)
        assert pool.offered == 2000
        kept.append([one.place.row for one in pool.candidates()])
    assert kept[0] == kept[1]
    assert len(kept[0]) == 200
    share = np.mean([row % 2 == 0 for row in kept[0]])
    assert 0.8 < share < 0.99  # nine in ten by weight; not the doubtful ones alone


def test_windows_cover_a_scene_and_the_last_ones_are_shifted_inward() -> None:
    frame = Frame(64, 16)
    places = frame.places("town", 130, 64)
    assert [(place.row, place.col, place.height, place.width) for place in places] == [
        (0, 0, 64, 64),
        (64, 0, 64, 64),
        (66, 0, 64, 64),
    ]
    assert frame.side == 96
    assert frame.places("tiny", 40, 50) == [Place("tiny", 0, 0, 40, 50)]
