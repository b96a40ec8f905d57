"""Splitting by scene, and by what a column says."""

import pandas as pd
import pytest
from patch_scenes import SceneSpec, Versions, opened, patch, scattered, small_project

from satseg.config.project import parse_project
from satseg.errors import BadDataError, ConfigurationError
from satseg.storage.layout import Workspace

BY_SCENE = ("patches.split_by=scene",)
BY_FILE = ("patches.split_by=column", "patches.split_file=splits.csv")


def towns(count: int, classes: int = 1, first: int = 0) -> list[SceneSpec]:
    return [
        SceneSpec(f"t{i}", 128, 160, offset_px=(2000 * i, 0), polygons=scattered(25, 128, 160, i, classes), seed=i)
        for i in range(first, first + count)
    ]


def splits_of(manifest: pd.DataFrame) -> dict[str, str]:
    pairs = manifest[["scene", "split"]].drop_duplicates()
    assert pairs["scene"].is_unique
    return dict(zip(pairs["scene"], pairs["split"], strict=True))


def test_a_scene_goes_to_one_split_as_a_whole(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(10))
    patch_set = opened(workspace, patch(workspace, small_project(*BY_SCENE)))
    splits = splits_of(patch_set.manifest())
    counts = pd.Series(splits).value_counts()
    assert counts["train"] == 6 or counts["train"] == 7
    assert counts["val"] >= 1
    assert counts["test"] == 2


def test_every_class_is_in_every_split_when_enough_scenes_hold_it(versions: Versions, workspace: Workspace) -> None:
    scenes = towns(9)
    for number in (0, 4, 8):
        scenes[number].polygons = scattered(25, 128, 160, number, classes=2)
    versions.add(*scenes)
    result = patch(workspace, small_project(*BY_SCENE, classes="[roof, road]"))
    assert result.warnings == []
    splits = splits_of(opened(workspace, result).manifest())
    assert sorted(splits[f"t{number}"] for number in (0, 4, 8)) == ["test", "train", "val"]


def test_a_class_that_is_missing_in_a_split_is_named(versions: Versions, workspace: Workspace) -> None:
    scenes = towns(6)
    scenes[2].polygons = scattered(25, 128, 160, 2, classes=2)
    versions.add(*scenes)
    warnings = patch(workspace, small_project(*BY_SCENE, classes="[roof, road]")).warnings
    assert sum("window holds class road" in warning for warning in warnings) == 2


def test_scenes_keep_their_split_when_others_come(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(6))
    versions.add(*towns(9))
    project = small_project(*BY_SCENE)
    old = splits_of(opened(workspace, patch(workspace, project, dataset_version="v1")).manifest())
    new = splits_of(opened(workspace, patch(workspace, project, dataset_version="v2")).manifest())
    assert {scene: new[scene] for scene in old} == old


def test_a_second_photograph_goes_where_the_first_went(versions: Versions, workspace: Workspace) -> None:
    again = SceneSpec("again", 128, 160, offset_px=(4003, 5), polygons=scattered(25, 128, 160, 9), seed=9)
    versions.add(*towns(6), again)
    splits = splits_of(opened(workspace, patch(workspace, small_project(*BY_SCENE))).manifest())
    assert splits["again"] == splits["t2"]


def test_two_scenes_are_too_few_to_split_by(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(2))
    with pytest.raises(BadDataError, match="'scene' needs at least three"):
        patch(workspace, small_project(*BY_SCENE))


def write_splits(workspace: Workspace, splits: dict[str, str], header: str = "scene,split") -> None:
    workspace.root.mkdir(parents=True, exist_ok=True)
    lines = [header, *(f"{scene},{split}" for scene, split in splits.items())]
    (workspace.root / "splits.csv").write_text("\n".join(lines) + "\n")


GIVEN = {"t0": "test", "t1": "train", "t2": "val", "t3": "train"}


def test_a_file_decides(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(4))
    write_splits(workspace, GIVEN | {"unknown": "nonsense"})
    patch_set = opened(workspace, patch(workspace, small_project(*BY_FILE)))
    assert splits_of(patch_set.manifest()) == GIVEN


def test_a_stac_property_decides(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(4))
    for record in versions.open(None, "town").scenes:
        record.item["properties"] = {"survey:part": GIVEN[record.id]}
    project = small_project("patches.split_by=column", "patches.split_property='survey:part'")
    assert splits_of(opened(workspace, patch(workspace, project)).manifest()) == GIVEN


def test_overlapping_scenes_of_different_splits_keep_the_buffer(versions: Versions, workspace: Workspace) -> None:
    scenes = towns(3)
    scenes.append(SceneSpec("over", 128, 160, offset_px=(60, 40), polygons=scattered(25, 128, 160, 7), seed=7))
    versions.add(*scenes)
    write_splits(workspace, {"t0": "test", "t1": "val", "t2": "train", "over": "train"})
    manifest = opened(workspace, patch(workspace, small_project(*BY_FILE))).manifest()  # finalise checks the distances
    assert (manifest[manifest["scene"] == "over"]["reason"] == "buffer").any()


def test_a_scene_without_a_split_is_named(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(4))
    write_splits(workspace, {"t0": "test", "t1": "train", "t2": "validation"})
    with pytest.raises(ConfigurationError, match=r"2 of 4 .*t2 \(validation\), t3 \(missing\).*train, val, test"):
        patch(workspace, small_project(*BY_FILE))
    for record in versions.open(None, "town").scenes:
        record.item["properties"] = {}
    with pytest.raises(ConfigurationError, match=r"'part'.*t0 \(missing\)"):
        patch(workspace, small_project("patches.split_by=column", "patches.split_property=part"))


def test_a_bad_file_says_what_is_wrong(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(4))
    with pytest.raises(ConfigurationError, match=r"splits.csv cannot be read"):
        patch(workspace, small_project(*BY_FILE))
    write_splits(workspace, GIVEN, header="name,split")
    with pytest.raises(ConfigurationError, match=r"no column scene.*'scene,split'"):
        patch(workspace, small_project(*BY_FILE))


def test_a_split_without_scenes_is_named(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(2))
    write_splits(workspace, {"t0": "test", "t1": "train"})
    with pytest.raises(BadDataError, match=r"leave none for val.*patches.val_fraction"):
        patch(workspace, small_project(*BY_FILE))
    assert patch(workspace, small_project(*BY_FILE, "patches.val_fraction=0")).windows["val"] == 0


def test_a_scene_that_changes_its_split_is_refused(versions: Versions, workspace: Workspace) -> None:
    versions.add(*towns(4))
    write_splits(workspace, GIVEN)
    patch(workspace, small_project(*BY_FILE))
    write_splits(workspace, GIVEN | {"t0": "train", "t1": "test"})
    with pytest.raises(ConfigurationError, match="'t0' was test in earlier patch sets and is train now"):
        patch(workspace, small_project(*BY_FILE))
    assert patch(workspace, small_project(*BY_FILE, "patches.seed=1")).changed


def test_file_and_mode_belong_together() -> None:
    for wrong in ("patches.split_by=column", "patches.split_file=x.csv"):
        with pytest.raises(ConfigurationError, match="split_by 'column' goes with"):
            parse_project("name: t\nclasses: [a]\n", "t", (wrong,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split,scene\ntrain\ntrain,t0\n", "line 2: give a scene and its split"),
        ("scene,split\nt0,test\nt1,train\nt2,val\nt2,train\nt3,train\n", "line 5: scene 't2' is train here and val"),
    ],
)
def test_rows_that_say_nothing_or_two_things_are_refused(
    versions: Versions, workspace: Workspace, text: str, said: str
) -> None:
    versions.add(*towns(4))
    workspace.root.mkdir(parents=True, exist_ok=True)
    (workspace.root / "splits.csv").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        patch(workspace, small_project(*BY_FILE))


def test_scenes_that_are_not_there_are_told(
    versions: Versions, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add(*towns(4))
    write_splits(workspace, GIVEN | {"S9": "test"})
    patch(workspace, small_project(*BY_FILE), step="plan")
    assert "1 scene(s) that are not labelled here: S9" in capsys.readouterr().err
