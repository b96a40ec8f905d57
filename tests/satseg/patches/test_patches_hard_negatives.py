"""Windows a model got wrong: read from a file, kept and drawn more often."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from patch_scenes import SceneSpec, Versions, opened, patch, small_project

from satseg.config.patches import PatchConfig
from satseg.errors import ConfigurationError
from satseg.patches.hard_negatives import NO_HARD_NEGATIVES, HardNegatives, read_hard_negatives
from satseg.patches.windows import Window, rects_of
from satseg.storage.layout import Workspace


def windows(*places: tuple[int, int], size: int = 32) -> np.ndarray:
    return rects_of([Window(row, col, "", "") for row, col in places], size)


def listed(*rects: tuple[int, int, int, int]) -> HardNegatives:
    return HardNegatives({"s": np.array(rects)}, "x")


def test_a_window_more_than_half_inside_a_listed_one_is_hit() -> None:
    some = windows((0, 0), (0, 16), (0, 15), (40, 40))
    hit, found = listed((0, 0, 32, 32)).hit("s", some)
    assert hit.tolist() == [True, False, True, False]
    assert found == 1


def test_a_larger_listed_window_hits_all_it_holds() -> None:
    hit, found = listed((0, 0, 64, 64)).hit("s", windows((0, 0), (32, 32), (60, 60)))
    assert hit.tolist() == [True, True, False]
    assert found == 1


def test_a_listed_window_between_others_hits_the_one_it_overlaps_most() -> None:
    hit, found = listed((20, 18, 52, 50)).hit("s", windows((0, 0), (32, 32), (64, 0)))
    assert hit.tolist() == [False, True, False]
    assert found == 1


def test_listed_windows_elsewhere_hit_nothing() -> None:
    some = windows((0, 0))
    assert listed((500, 500, 532, 532)).hit("s", some) == (pytest.approx(np.zeros(1)), 0)
    assert listed((0, 0, 32, 32)).hit("other", some)[1] == 0
    assert listed((0, 0, 32, 32)).hit("s", windows())[1] == 0


def test_the_three_kinds_of_file_say_the_same(workspace: Workspace) -> None:
    table = pd.DataFrame({"scene": ["007", "b"], "row": [0, 64], "col": [32, 5], "probability": [0.9, 0.8]})
    workspace.root.mkdir(parents=True)
    table.to_csv(workspace.root / "h.csv", index=False)
    table.to_parquet(workspace.root / "h.parquet")
    (workspace.root / "h.json").write_text(json.dumps({"windows": table.to_dict("records")}))
    (workspace.root / "l.json").write_text(json.dumps(table.to_dict("records")))
    read = [
        read_hard_negatives(PatchConfig(hard_negatives=name), workspace)
        for name in ("h.csv", "h.parquet", "h.json", "l.json")
    ]
    assert {some.digest for some in read} == {read[0].digest}
    assert len(read[0]) == 2
    assert read[0].rects["007"].tolist() == [[0, 32, 256, 288]]


def test_size_is_read_when_it_is_there(workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    (workspace.root / "h.csv").write_text("scene,row,col,size\na,1,2,100\n")
    assert read_hard_negatives(PatchConfig(hard_negatives="h.csv"), workspace).rects["a"].tolist() == [[1, 2, 101, 102]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("h.csv", "scene,col\na,1\n", r"has no column row \(it has scene, col\)"),
        ("h.csv", "scene,row,col\na,x,1\n", "must be whole numbers"),
        ("h.json", "{", "cannot be read"),
        ("h.json", "{}", "array of windows, or an object"),
        ("h.json", "null", "array of windows, or an object"),
        ("h.csv", "scene,row,col\na,0,0\na,1.7,1\n", "window 2: row is 1.7"),
        ("h.csv", "scene,row,col\na,-1,1\n", "window 1: row is -1"),
        ("h.csv", "scene,row,col\na,9,99999999999999999999\n", "col is 99999999999999999999"),
        ("h.csv", "scene,row,col,size\na,0,0,64\na,0,0,0\n", "window 2: size is 0"),
        ("h.csv", "scene,row,col,size\na,0,0,-5\n", "size is -5"),
        ("h.csv", "scene,row,col\n,0,0\n", "window 1: no scene"),
        ("h.csv", "", "cannot be read"),
        ("h.txt", "", "ends with .csv, .json, .parquet"),
        ("missing.csv", None, "cannot be read.*Correct the path"),
    ],
)
def test_a_bad_file_says_what_is_wrong(workspace: Workspace, name: str, content: str | None, said: str) -> None:
    workspace.root.mkdir(parents=True)
    if content is not None:
        (workspace.root / name).write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        read_hard_negatives(PatchConfig(hard_negatives=name), workspace)


def test_an_empty_size_is_that_of_a_patch(workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    (workspace.root / "h.csv").write_text("scene,row,col,size\na,0,0,\nb,0,0,64\n")
    read = read_hard_negatives(PatchConfig(hard_negatives="h.csv"), workspace)
    assert (read.rects["a"].tolist(), read.rects["b"].tolist()) == ([[0, 0, 256, 256]], [[0, 0, 64, 64]])


@pytest.mark.parametrize(("name", "content"), [("h.csv", "scene,row,col\n"), ("h.json", "[]")])
def test_a_list_of_nothing_is_as_none_and_is_told(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    workspace.root.mkdir(parents=True)
    (workspace.root / name).write_text(content)
    assert read_hard_negatives(PatchConfig(hard_negatives=name), workspace) is NO_HARD_NEGATIVES
    assert "lists no window" in capsys.readouterr().err


@pytest.fixture
def field(versions: Versions) -> Versions:
    """A scene with few roofs, so that most negatives are left out."""
    roofs = [(shapely.box(x, x, x + 12, x + 12), 1) for x in range(20, 300, 60)]
    versions.add(SceneSpec("a", 320, 320, polygons=roofs))
    return versions


def write_list(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table[["scene", "row", "col"]].to_csv(path, index=False)


def test_listed_negatives_are_kept_and_drawn_often(field: Versions, workspace: Workspace) -> None:
    plain = opened(workspace, patch(workspace)).manifest()
    left_out = plain[plain["reason"] == "negative sampling"].head(5)
    assert len(left_out) == 5
    write_list(workspace.root / "hard.csv", left_out)
    project = small_project("patches.hard_negatives=hard.csv", "patches.copies_per_hard_negative=4")
    result = patch(workspace, project)
    manifest = opened(workspace, result).manifest()
    found = manifest.merge(left_out[["scene", "row", "col"]], on=["scene", "row", "col"])
    assert found["hard_negative"].all()
    assert found["kept"].all()
    assert (found["draw_weight"] == 4).all()
    assert not manifest[manifest["positive"] | (manifest["split"] != "train")]["hard_negative"].any()
    assert not any("hard_negatives" in warning for warning in result.warnings)


def test_the_content_of_the_list_is_part_of_the_id_and_its_path_is_not(field: Versions, workspace: Workspace) -> None:
    plain = opened(workspace, patch(workspace))
    left_out = plain.manifest().query("reason == 'negative sampling'")
    for name, rows in (("one.csv", left_out.head(3)), ("two.csv", left_out.head(3)), ("three.csv", left_out.head(4))):
        write_list(workspace.root / name, rows)
    ids = [
        patch(workspace, small_project(f"patches.hard_negatives={name}.csv"), step="plan").patch_set
        for name in ("one", "two", "three")
    ]
    assert ids[0] == ids[1]
    assert len({plain.id, *ids}) == 3


def test_held_out_ground_is_never_a_hard_negative_and_the_result_says_so(field: Versions, workspace: Workspace) -> None:
    plain = opened(workspace, patch(workspace)).manifest()
    test = plain[(plain["split"] == "test") & ~plain["positive"]]
    write_list(workspace.root / "hard.csv", test.tail(1))
    project = small_project("patches.hard_negatives=hard.csv", "patches.buffer_m=30")
    result = patch(workspace, project)
    assert any("1 of the 1 windows in patches.hard_negatives are not used" in warning for warning in result.warnings)
    assert not opened(workspace, result).manifest()["hard_negative"].any()
