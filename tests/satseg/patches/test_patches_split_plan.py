"""The split plan is fixed: later versions extend it and never change it."""

import json
from pathlib import Path

import pytest
import shapely
from patch_scenes import SceneSpec, Versions, scattered, small_project

from satseg.errors import BadDataError, ConfigurationError
from satseg.patches.division import extend
from satseg.patches.plan import PatchPlan, make_plan
from satseg.patches.split_plan import SplitPlan, empty_plan
from satseg.storage.layout import Workspace


def splits_of(plan: PatchPlan) -> dict[str, str]:
    return {name: block.split for name, block in plan.planned_blocks().items()}


def test_blocks_keep_their_split_when_a_scene_is_added(versions: Versions, workspace: Workspace) -> None:
    first_scene = SceneSpec("a", 192, 256, polygons=scattered(50, 192, 256))
    versions.add(first_scene)
    versions.add(first_scene, SceneSpec("b", 128, 128, offset_px=(5000, 0), polygons=scattered(10, 128, 128, 5)))
    project = small_project()
    first, _ = make_plan(project, workspace, "v1", may_extend=True)
    second, _ = make_plan(project, workspace, "v2", may_extend=True)
    old, new = splits_of(first), splits_of(second)
    assert {name: new[name] for name in old} == old
    blocks = second.planned_blocks()
    assert {blocks[name].cohort for name in old} == {"v1"}
    assert {blocks[name].cohort for name in set(new) - set(old)} == {"v2"}
    assert {name for name, block in blocks.items() if second.split.is_reference(block)} == {
        name for name in old if old[name] != "train"
    }
    again, _ = make_plan(project, workspace, "v1", may_extend=True)
    assert again.id == first.id


def test_the_same_ground_photographed_again_keeps_its_split(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(60, 320, 320)
    versions.add(SceneSpec("a", 320, 320, polygons=roofs))
    # 10 pixels further down and right, so that every block lies mostly on the old one
    versions.add(SceneSpec("a", 320, 320, polygons=roofs), SceneSpec("b", 320, 320, offset_px=(10, 10), polygons=roofs))
    project = small_project()
    make_plan(project, workspace, "v1", may_extend=True)
    plan, _ = make_plan(project, workspace, "v2", may_extend=True)
    splits = splits_of(plan)
    old = {name.removeprefix("a/"): split for name, split in splits.items() if name.startswith("a/")}
    new = {name.removeprefix("b/"): split for name, split in splits.items() if name.startswith("b/")}
    assert new == old


def test_ground_of_a_scene_that_was_taken_out_keeps_its_split(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(60, 320, 320)
    other = SceneSpec("c", 320, 320, offset_px=(5000, 0), polygons=roofs)
    versions.add(SceneSpec("a", 320, 320, polygons=roofs), other)
    versions.add(other)
    versions.add(other, SceneSpec("b", 320, 320, offset_px=(10, 10), polygons=roofs))
    project = small_project()
    plans = [make_plan(project, workspace, version, may_extend=True)[0] for version in ("v1", "v2", "v3")]
    first, without, again = (splits_of(plan) for plan in plans)
    assert not any(name.startswith("a/") for name in {**without, **again})
    old = {name.removeprefix("a/"): split for name, split in first.items() if name.startswith("a/")}
    assert {name.removeprefix("b/"): split for name, split in again.items() if name.startswith("b/")} == old


def test_two_photographs_of_one_place_in_the_first_version_agree(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(60, 320, 320)
    versions.add(SceneSpec("a", 320, 320, polygons=roofs), SceneSpec("b", 320, 320, polygons=roofs, seed=9))
    plan, _ = make_plan(small_project(), workspace, "v1", may_extend=True)
    splits = splits_of(plan)
    assert all(split == splits[name.replace("a/", "b/")] for name, split in splits.items() if name.startswith("a/"))


def test_a_scene_replaced_by_one_of_another_size_gets_new_blocks_on_old_splits(
    versions: Versions, workspace: Workspace
) -> None:
    versions.add(SceneSpec("a", 320, 320, polygons=scattered(60, 320, 320)))
    versions.add(SceneSpec("a", 384, 320, polygons=scattered(60, 384, 320)))
    project = small_project()
    old = splits_of(make_plan(project, workspace, "v1", may_extend=True)[0])
    plan, _ = make_plan(project, workspace, "v2", may_extend=True)
    new = splits_of(plan)
    assert {name: new[name] for name in old} == old
    assert len(new) == len(old) + 5


def test_new_labels_keep_the_blocks_and_change_the_id(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 256, 256, polygons=scattered(40, 256, 256)))
    versions.add(SceneSpec("a", 256, 256, polygons=scattered(45, 256, 256)))
    project = small_project()
    first, _ = make_plan(project, workspace, "v1", may_extend=True)
    second, _ = make_plan(project, workspace, "v2", may_extend=True)
    assert splits_of(first) == splits_of(second)
    assert first.id != second.id


def test_another_block_size_starts_a_plan_beside_the_old_one(town: str, workspace: Workspace) -> None:
    first, warnings = make_plan(small_project(), workspace, None, may_extend=True)
    assert warnings == []
    other, warnings = make_plan(small_project("patches.block_px=96"), workspace, None, may_extend=True)
    assert "starts a new split" in warnings[0]
    assert other.split.key != first.split.key
    back, warnings = make_plan(small_project(), workspace, None, may_extend=True)
    assert (back.id, back.split, warnings) == (first.id, first.split, [])


def test_buffer_and_stride_do_not_change_the_test_blocks(town: str, workspace: Workspace) -> None:
    first, _ = make_plan(small_project(), workspace, None, may_extend=True)
    other, _ = make_plan(small_project("patches.buffer_m=1", "patches.stride_px=32"), workspace, None, may_extend=True)
    assert splits_of(other) == splits_of(first)
    assert other.id != first.id


def test_every_split_has_positives_on_average_ground(versions: Versions, workspace: Workspace) -> None:
    dense = [(shapely.box(x, y, x + 20, y + 20), 1) for x in range(0, 160, 32) for y in range(0, 320, 32)]
    versions.add(SceneSpec("a", 320, 320, polygons=dense))
    plan, _ = make_plan(small_project(), workspace, None, may_extend=True)
    record = plan.records[0]
    for split in ("train", "val", "test"):
        blocks = [block for block in plan.planned_blocks().values() if block.split == split]
        labelled = sum(
            b.intersection(shapely.box(*t.rect[1::-1], *t.rect[:1:-1])).area for t in blocks for b, _ in dense
        )
        area = sum((b.rect[2] - b.rect[0]) * (b.rect[3] - b.rect[1]) for b in blocks)
        assert 0.1 < labelled / area < 0.32, split
    assert record.id == "a"


def test_too_few_blocks_say_which_block_size_would_do(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 120, 120, polygons=scattered(10, 120, 120)))
    with pytest.raises(BadDataError, match=r"1 block\(s\).*block_px = 128.*Set patches.block_px to 64"):
        make_plan(small_project("patches.block_px=128"), workspace, None, may_extend=True)
    assert not workspace.patches("town").exists() or not any(workspace.patches("town").iterdir())


def test_a_tiny_scene_alone_asks_for_more(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 30, 30, polygons=scattered(3, 30, 30)))
    with pytest.raises(BadDataError, match="Add labelled scenes"):
        make_plan(small_project(), workspace, None, may_extend=True)


def test_a_buffer_that_leaves_nothing_to_train_on_names_the_keys(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 128, 192, polygons=scattered(20, 128, 192)))
    with pytest.raises(BadDataError, match=r"No training window.*patches.buffer_m \(now 60") as caught:
        make_plan(small_project("patches.buffer_m=60"), workspace, None, may_extend=True)
    assert "patches.size_px" in str(caught.value)
    assert not (workspace.patches("town") / "split.json").exists()


def test_an_impossible_buffer_is_found_also_when_the_blocks_are_planned(town: str, workspace: Workspace) -> None:
    make_plan(small_project(), workspace, None, may_extend=True)
    with pytest.raises(BadDataError, match=r"No training window.*now 1000"):
        make_plan(small_project("patches.buffer_m=1000"), workspace, None, may_extend=True)


def test_an_impossible_buffer_is_found_among_many_blocks(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 1024, 1024, polygons=scattered(200, 1024, 1024)))
    with pytest.raises(BadDataError, match="No training window"):
        make_plan(small_project("patches.buffer_m=600"), workspace, None, may_extend=True)


@pytest.mark.parametrize(
    "override",
    [
        "buffer_m=.nan", "buffer_m=.inf", "buffer_m=1e18", "buffer_px=10000000", "negatives_per_positive=.inf",
        "copies_per_positive=99999999999", "copies_per_hard_negative=1001", "shard_mib=99999999999999999999",
        "seed=-99999999999999999999999",
    ],
)  # fmt: skip
def test_values_beyond_all_sense_are_refused(override: str) -> None:
    with pytest.raises(ConfigurationError, match=override.partition("=")[0]):
        small_project(f"patches.{override}")


def test_extracting_before_planning_says_so(town: str, workspace: Workspace) -> None:
    plan, _ = make_plan(small_project(), workspace, None, may_extend=False)
    with pytest.raises(BadDataError, match="--step plan first"):
        _ = plan.id


def test_a_damaged_plan_is_kept_and_reported(town: str, workspace: Workspace) -> None:
    make_plan(small_project(), workspace, None, may_extend=True)
    path = workspace.patches("town") / "split.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(BadDataError, match=r"damaged.*backup"):
        make_plan(small_project(), workspace, None, may_extend=True)
    assert len(path.read_text()) == 100


def test_the_plan_file_says_where_each_block_lies(town: str, workspace: Workspace) -> None:
    make_plan(small_project(), workspace, None, may_extend=True)
    stored = json.loads((workspace.patches("town") / "split.json").read_text())
    (plan,) = stored["plans"].values()
    block = next(iter(plan["scenes"].values()))["blocks"][0]
    assert {"name", "rect", "lonlat", "split", "cohort"} <= set(block)
    assert 30 < block["lonlat"][0][0] < 36


def test_blocks_without_data_are_not_held_out(versions: Versions, workspace: Workspace, tmp_path: Path) -> None:
    import numpy as np

    pixels = np.full((256, 256, 3), 7, dtype=np.uint8)
    pixels[:, :128] = 0
    versions.add(SceneSpec("a", 256, 256, polygons=scattered(40, 256, 256), nodata=0, pixels=pixels))
    plan, _ = make_plan(small_project(), workspace, None, may_extend=True)
    held = [block.rect for block in plan.planned_blocks().values() if block.split != "train"]
    assert held
    assert all(rect[1] >= 128 for rect in held)


def test_extending_is_deterministic(town: str, workspace: Workspace) -> None:
    project = small_project()
    plan, _ = make_plan(project, workspace, None, may_extend=True)
    again: SplitPlan = extend(empty_plan(project.patches, "v1"), plan.records, project, "v1")
    assert again == plan.split
