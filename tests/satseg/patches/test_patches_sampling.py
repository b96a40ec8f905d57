"""Which windows are kept."""

import numpy as np
import pandas as pd

from satseg.config.patches import PatchConfig
from satseg.patches.sampling import decide


def windows(splits: list[str], roofs: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"split": splits, "reason": "", "fraction_roof": roofs, "fraction_road": 0.0})


def decided(table: pd.DataFrame, scene: str = "s", data: np.ndarray | None = None, **config: float) -> pd.DataFrame:
    decide(table, np.ones(len(table)) if data is None else data, PatchConfig.model_validate(config), scene)
    return table


def test_negatives_are_kept_to_the_ratio_in_train_only() -> None:
    roofs = [0.2] * 10 + [0.0] * 50 + [0.0] * 5
    table = decided(windows(["train"] * 60 + ["test"] * 5, roofs), negatives_per_positive=1.5)
    train = table[table["split"] == "train"]
    assert train[train["positive"]]["kept"].all()
    assert (train["kept"] & ~train["positive"]).sum() == 15
    assert (train["reason"] == "negative sampling").sum() == 35
    assert table[table["split"] == "test"]["kept"].all()


def test_positives_are_drawn_often_and_others_once() -> None:
    table = decided(windows(["train", "train", "val"], [0.2, 0.0, 0.2]), copies_per_positive=4)
    assert table["draw_weight"].tolist() == [4, 1, 1]


def test_the_sample_depends_on_seed_and_scene_only() -> None:
    roofs = [0.2] * 5 + [0.0] * 50

    def kept(scene: str, seed: int) -> list[int]:
        table = decided(windows(["train"] * 55, roofs), scene, seed=seed)
        return np.flatnonzero(table["kept"]).tolist()

    assert kept("a", 0) == kept("a", 0)
    assert kept("a", 0) != kept("b", 0)
    assert kept("a", 0) != kept("a", 1)


def test_windows_with_too_little_data_are_dropped_in_every_split() -> None:
    data = np.array([1.0, 0.5, 0.49, 0.1])
    table = decided(windows(["train", "train", "val", "test"], [0.1] * 4), data=data, max_nodata_fraction=0.5)
    assert table["reason"].tolist() == ["", "", "nodata", "nodata"]
    assert table["draw_weight"].tolist() == [6, 6, 0, 0]


def test_a_window_the_buffer_took_is_not_counted() -> None:
    table = windows(["train"] * 4, [0.2, 0.2, 0.0, 0.0])
    table.loc[0, "reason"] = "buffer"
    decided(table)
    assert table["reason"].tolist().count("negative sampling") == 1
    assert not table["kept"][0]


def test_a_checked_negative_scene_teaches_a_little() -> None:
    table = decided(windows(["train"] * 100, [0.0] * 100))
    assert table["kept"].sum() == 5
    none = decided(windows(["train"] * 100, [0.0] * 100), negatives_per_positive=0)
    assert none["kept"].sum() == 0


def test_the_positive_threshold_counts_all_classes_together() -> None:
    table = windows(["val", "val"], [0.006, 0.004])
    table["fraction_road"] = [0.006, 0.004]
    assert decided(table, positive_fraction=0.01)["positive"].tolist() == [True, False]
    assert not decided(windows(["val"], [0.0]), positive_fraction=0.0)["positive"].any()
