import pytest

from satseg.config.project import ProjectConfig
from satseg.datasets.rules import annotation_rules, broken, scene_rules

PROJECT = ProjectConfig(name="roofs", classes=("building",), gsd_m=0.15)
GOOD = {
    "band_count": 3,
    "dtype": "uint8",
    "palette": False,
    "width": 64,
    "height": 64,
    "nodata_fraction": 0.9,
    "infinite_pixels": 0,
    "gsd_deviation": 0.01,
}


def test_a_good_row_breaks_nothing():
    assert broken(scene_rules(PROJECT), GOOD, critical=True) == []


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("band_count", 4, "has 4 bands, expected 3 (red, green, blue)"),
        ("dtype", "float64", "has pixels of type float64, expected one of uint8, uint16, int16, float32"),
        ("palette", True, "palette image"),
        ("width", 63, "is 63 px wide, expected at least 64"),
        ("nodata_fraction", 0.95, "is nodata in a part of 0.95, expected at most 0.9"),
        ("infinite_pixels", 2, "has 2 infinite pixel values"),
        ("gsd_deviation", 0.02, "misses the project's GSD of 0.15 m by a part of 0.02"),
    ],
)
def test_a_broken_rule_names_value_and_expectation(column, value, words):
    (reason,) = broken(scene_rules(PROJECT), {**GOOD, column: value}, critical=True)
    assert words in reason


def test_missing_cells_pass():
    assert broken(scene_rules(PROJECT), {}, critical=True) == []
    assert broken(annotation_rules(PROJECT), {}, critical=True) == []


def test_warnings_are_apart():
    rows = {**GOOD, "labelled": False, "contrast": 0.0}
    assert broken(scene_rules(PROJECT), rows, critical=True) == []
    assert len(broken(scene_rules(PROJECT), rows, critical=False)) == 2
