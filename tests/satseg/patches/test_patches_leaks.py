"""No training on held-out ground, also when the same ground was photographed twice."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_scenes import ORIGIN, UTM, SceneSpec, Versions, opened, outline, patch, record_of, scattered, small_project
from pyproj import Transformer

from satseg.datasets.catalog import DatasetVersion, SceneRecord
from satseg.errors import SplitLeakError
from satseg.patches.leaks import check_leaks
from satseg.patches.plan import PatchPlan, make_plan
from satseg.patches.split_plan import PlannedBlock, PlannedScene, empty_plan, grid_key
from satseg.patches.windows import block_grid
from satseg.storage.layout import Workspace

BUFFER_M = 3.0


def planned(record: SceneRecord, splits: list[str], block_px: int) -> PlannedScene:
    grid = block_grid(record.id, record.height, record.width, block_px)
    blocks = [
        PlannedBlock(name=b.name, rect=b[1:], lonlat=None, split=split, cohort="v1")
        for b, split in zip(grid, itertools.cycle(splits))
    ]
    return PlannedScene(
        scene=record.id, crs=record.crs, transform=record.transform, height=record.height, width=record.width,
        blocks=tuple(blocks),
    )  # fmt: skip


@st.composite
def overlapping_plans(draw: st.DrawFn) -> PatchPlan:
    """Two or three scenes of different pixel size and place, with random splits that do not agree at all."""
    stride, edge = draw(st.integers(16, 32)), draw(st.sampled_from(["shift", "pad", "drop"]))
    project = small_project(f"patches.buffer_m={BUFFER_M}", f"patches.stride_px={stride}", f"patches.edge={edge}")
    specs = [
        SceneSpec(
            f"s{i}",
            draw(st.integers(20, 160)),
            draw(st.integers(20, 160)),
            gsd_m=draw(st.sampled_from([0.3, 0.5, 0.9])),
            offset_px=(draw(st.floats(-80, 80)), draw(st.floats(-80, 80))),
        )
        for i in range(draw(st.integers(2, 3)))
    ]
    records = tuple(record_of(spec) for spec in specs)
    splits = st.lists(st.sampled_from(["train", "train", "val", "test"]), min_size=1, max_size=9)
    scenes = {grid_key(record): planned(record, draw(splits), 64) for record in records}
    version = DatasetVersion("town", "v1", "", record_of(specs[0]).ingested_at, records, "")
    return PatchPlan(
        project, version, records, empty_plan(project.patches, "v1").with_scenes(scenes), Workspace("/none")
    )


def manifest_of(plan: PatchPlan) -> pd.DataFrame:
    tables = []
    for record in plan.records:
        table = pd.DataFrame(plan.windows(record), columns=["row", "col", "split", "block", "reason"])
        tables.append(table.assign(scene=record.id, size=32, kept=table["reason"] == ""))
    return pd.concat(tables, ignore_index=True)


def nearest(plan: PatchPlan, manifest: pd.DataFrame, crs: str = UTM) -> float:
    """Smallest distance in metres between train and held-out, and between val and test windows, pair by pair."""
    records = {record.id: record for record in plan.records}
    kept = manifest[manifest["kept"]].to_dict("records")
    outlines = [(row["split"], outline(records[row["scene"]], row["row"], row["col"], 32, crs)) for row in kept]
    distances = [
        a.distance(b) - (1e-4 if a.intersection(b).area > 1e-2 else 0)
        for (split, a), (other, b) in itertools.permutations(outlines, 2)
        if (split, other) in {("train", "val"), ("train", "test"), ("val", "test")}
    ]
    return min(distances, default=math.inf)


@settings(max_examples=25, deadline=None)
@given(overlapping_plans())
def test_the_buffer_holds_between_scenes_of_the_same_ground(plan: PatchPlan) -> None:
    manifest = manifest_of(plan)
    assert nearest(plan, manifest) >= BUFFER_M - 0.02
    check_leaks(plan, manifest)


@settings(max_examples=25, deadline=None)
@given(overlapping_plans(), st.integers(0, 10_000))
def test_the_check_finds_what_a_slow_comparison_finds(plan: PatchPlan, seed: int) -> None:
    manifest = manifest_of(plan)
    rng = np.random.default_rng(seed)
    manifest["kept"] = rng.random(len(manifest)) < 0.3  # also windows that the buffer had excluded
    distance = nearest(plan, manifest)
    if distance < BUFFER_M - 0.02:
        with pytest.raises(SplitLeakError, match="nearer than the buffer"):
            check_leaks(plan, manifest)
    elif distance > BUFFER_M + 0.02:
        check_leaks(plan, manifest)


def test_the_check_names_the_pair(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 192, 192, polygons=scattered(30, 192, 192)))
    patch_set = opened(workspace, patch(workspace))
    plan, _ = make_plan(small_project(), workspace, "v1", may_extend=False)
    manifest = patch_set.manifest()
    check_leaks(plan, manifest)
    test = manifest.query("kept and split == 'test'").iloc[0]
    leaking = manifest.query("kept and split == 'train'").iloc[[0]].assign(row=test["row"] + 3, col=test["col"])
    with pytest.raises(SplitLeakError, match=f"train a at row {test['row'] + 3}.* and test a at row {test['row']}"):
        check_leaks(plan, pd.concat([manifest, leaking]))


@pytest.mark.parametrize(("gap_px", "leaks"), [(3, True), (4, False)])
def test_the_check_draws_the_line_at_the_buffer(
    versions: Versions, workspace: Workspace, gap_px: int, leaks: bool
) -> None:
    versions.add(SceneSpec("a", 128, 192, gsd_m=0.5, polygons=[]))
    plan, _ = make_plan(small_project("patches.buffer_m=1.99"), workspace, "v1", may_extend=True)
    columns = ["scene", "row", "col", "size", "split", "kept"]
    rows = [("a", 10, 20, 32, "test", True), ("a", 10, 20 + 32 + gap_px, 32, "train", True)]
    manifest = pd.DataFrame(rows, columns=columns)
    if leaks:
        with pytest.raises(SplitLeakError, match=r"column 20: 1\.50"):
            check_leaks(plan, manifest)
    else:
        check_leaks(plan, manifest)


def test_touching_windows_do_not_leak_without_a_buffer(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 128, 192, polygons=scattered(30, 128, 192)))
    project = small_project("patches.buffer_m=0")
    patch_set = opened(workspace, patch(workspace, project))
    plan, _ = make_plan(project, workspace, "v1", may_extend=False)
    assert nearest(plan, patch_set.manifest()) == 0
    manifest = patch_set.manifest()
    test = manifest.query("kept and split == 'test'").iloc[0]
    leaking = manifest.query("kept and split == 'train'").iloc[[0]].assign(row=test["row"], col=test["col"] + 31)
    with pytest.raises(SplitLeakError):
        check_leaks(plan, pd.concat([manifest, leaking]))


def test_a_second_photograph_in_another_crs_does_not_leak(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(40, 192, 192)
    x, y = Transformer.from_crs(UTM, "EPSG:3857", always_xy=True).transform(*ORIGIN)
    again = SceneSpec("b", 400, 400, gsd_m=0.3, crs="EPSG:3857", origin=(x - 7, y + 9), polygons=[], seed=7)
    versions.add(SceneSpec("a", 192, 192, polygons=roofs))
    versions.add(SceneSpec("a", 192, 192, polygons=roofs), again)
    patch(workspace, dataset_version="v1")
    patch_set = opened(workspace, patch(workspace, dataset_version="v2"))
    plan, _ = make_plan(small_project(), workspace, "v2", may_extend=False)
    a, b = (shapely.box(*record.footprint_wgs84) for record in plan.records)
    assert a.intersection(b).area > 0.5 * a.area
    assert nearest(plan, patch_set.manifest()) >= 2 - 0.02
    assert (patch_set.manifest().query("scene == 'b'")["reason"] == "buffer").any()


def plan_of(*specs: SceneSpec, buffer_m: float, split: list[str]) -> PatchPlan:
    """A plan in which every scene has these splits by turns."""
    project = small_project(f"patches.buffer_m={buffer_m}", "patches.stride_px=32")
    records = tuple(record_of(spec) for spec in specs)
    scenes = {
        grid_key(record): planned(record, split[number:] + split[:number], 64) for number, record in enumerate(records)
    }
    version = DatasetVersion("town", "v1", "", records[0].ingested_at, records, "")
    return PatchPlan(
        project, version, records, empty_plan(project.patches, "v1").with_scenes(scenes), Workspace("/none")
    )


def across_the_180th_meridian() -> list[SceneSpec]:
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True).transform(179.9999, -17)
    at = (x - 40, y + 40)
    degrees = Affine(5e-6, 0, -180.0002, 0, -5e-6, -16.9997)
    return [
        SceneSpec("a", 192, 192, crs="EPSG:32760", origin=at),
        SceneSpec("b", 192, 192, crs="EPSG:32760", origin=at, offset_px=(17, 31)),
        SceneSpec("c", 192, 192, crs="EPSG:4326", affine=degrees),
    ]


ABOUT_180 = "+proj=laea +lat_0=-17 +lon_0=180 +datum=WGS84"


def test_the_buffer_holds_across_the_180th_meridian() -> None:
    plan = plan_of(*across_the_180th_meridian(), buffer_m=3, split=["train", "val", "train", "test"])
    manifest = manifest_of(plan)
    assert manifest.groupby("scene")["kept"].any().all()
    assert nearest(plan, manifest, ABOUT_180) >= 3 - 0.02
    check_leaks(plan, manifest)


def test_the_check_does_not_trust_the_planner_with_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(*across_the_180th_meridian(), buffer_m=3, split=["train", "val", "train", "test"])
    monkeypatch.setattr(PatchPlan, "meeting", lambda self, record: [])
    manifest = manifest_of(plan)
    assert nearest(plan, manifest, ABOUT_180) < 2
    with pytest.raises(SplitLeakError):
        check_leaks(plan, manifest)


def test_second_photographs_across_the_180th_meridian_keep_the_split(versions: Versions, workspace: Workspace) -> None:
    a, b, _ = across_the_180th_meridian()
    a.polygons, b.polygons, b.offset_px = scattered(30, 192, 192), scattered(30, 192, 192), (3, 3)
    versions.add(a, b)
    plan, _ = make_plan(small_project(), workspace, "v1", may_extend=True)
    splits = {name: block.split for name, block in plan.planned_blocks().items()}
    assert all(split == splits[name.replace("a/", "b/")] for name, split in splits.items() if name.startswith("a/"))


def sheared() -> Affine:
    return Affine.translation(*ORIGIN) @ Affine.rotation(20) @ Affine.shear(35, 0) @ Affine.scale(0.5, -0.5)


def test_the_buffer_holds_in_metres_in_a_sheared_scene() -> None:
    plan = plan_of(SceneSpec("a", 320, 320, affine=sheared()), buffer_m=6, split=["train", "train", "val", "test"])
    manifest = manifest_of(plan)
    assert 6 - 0.02 <= nearest(plan, manifest) < 8
    check_leaks(plan, manifest)
    rows = [("a", 100, 100, 32, "test", True), ("a", 100, 100 + 32 + 12, 32, "train", True)]
    near = pd.DataFrame(rows, columns=["scene", "row", "col", "size", "split", "kept"])
    assert nearest(plan, near) < 5.5  # 12 columns of 0.5 m, which a shear puts closer together
    with pytest.raises(SplitLeakError):
        check_leaks(plan, near)


def test_the_buffer_holds_far_from_the_middle_of_a_scene_in_degrees() -> None:
    tall = SceneSpec("a", 3200, 192, crs="EPSG:4326", affine=Affine(0.004, 0, 20, 0, -0.004, 72))
    plan = plan_of(tall, buffer_m=2000, split=["train", "val", "test"])
    manifest = manifest_of(plan)
    top = manifest[manifest["row"] < 200]  # where a degree of longitude is shortest
    assert nearest(plan, top, "+proj=laea +lat_0=71 +lon_0=20.4 +datum=WGS84") >= 2000 - 2
    check_leaks(plan, manifest)
    rows = [("a", 0, 0, 32, "test", True), ("a", 0, 32 + 10, 32, "train", True)]
    with pytest.raises(SplitLeakError):
        check_leaks(plan, pd.DataFrame(rows, columns=["scene", "row", "col", "size", "split", "kept"]))
