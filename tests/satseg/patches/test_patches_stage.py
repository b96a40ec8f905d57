"""The whole stage on tiny scenes: content, identity, steps, and what is kept."""

from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from patch_scenes import SceneSpec, Versions, bytes_of, opened, patch, scattered, small_project
from rasterio.features import rasterize

from satseg.annotations.table import read_table
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.patches.patchset import PatchSet, list_patch_sets, open_patch_set
from satseg.storage.layout import Workspace


def whole_mask(versions: Versions, scene: str, version: str = "v1") -> np.ndarray:
    path = versions.folder / version / f"{scene}.tif"
    with rasterio.open(path) as dataset:
        shapes = [(p.geometry, p.class_id) for p in read_table(path.with_suffix(".geojson"))]
        return rasterize(shapes, out_shape=dataset.shape, transform=dataset.transform, dtype="uint8")


def whole_image(versions: Versions, scene: str, version: str = "v1") -> np.ndarray:
    with rasterio.open(versions.folder / version / f"{scene}.tif") as dataset:
        return np.moveaxis(dataset.read(), 0, -1)


def rows(patch_set: PatchSet, *splits: str) -> list[dict[str, Any]]:
    return [row for split in splits or ("train", "val", "test") for row in patch_set.windows(split).to_dict("records")]


@pytest.mark.parametrize("cell_bytes", [24 * 2**20, 1])
def test_patches_are_the_pixels_and_labels_of_the_whole_scene(
    town: str, versions: Versions, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, cell_bytes: int
) -> None:
    monkeypatch.setattr("satseg.patches.cells.CELL_BYTES", cell_bytes)
    patch_set = opened(workspace, patch(workspace))
    images = {scene: whole_image(versions, scene) for scene in ("east", "north")}
    masks = {scene: whole_mask(versions, scene) for scene in ("east", "north")}
    found = rows(patch_set)
    for row in found:
        window = np.s_[row["row"] : row["row"] + 32, row["col"] : row["col"] + 32]
        image, mask = patch_set.images(row["shard"])[row["index"]], patch_set.masks(row["shard"])[row["index"]]
        assert (image == images[row["scene"]][window]).all()
        assert (mask == masks[row["scene"]][window]).all()
        assert row["fraction_roof"] == (mask == 1).mean()
    assert len(found) == sum(patch_set.description.windows.values()) == sum(patch_set.description.shards)


def test_the_manifest_says_why_each_window_is_kept_or_not(made: PatchSet) -> None:
    manifest = made.manifest()
    assert set(manifest["reason"]) <= {"", "nodata", "buffer", "negative sampling"}
    assert (manifest["kept"] == (manifest["reason"] == "")).all()
    assert ((manifest["shard"] >= 0) == manifest["kept"]).all()
    assert set(manifest["scene"]) == {"east", "north"}
    assert (manifest["cohort"] == "v1").all()
    assert (manifest["reference"] == (manifest["split"] != "train")).all()
    assert (manifest["size"] == 32).all()
    assert {"row", "col", "block", "positive", "nodata_fraction", "fraction_roof", "draw_weight"} <= set(manifest)


def test_each_shard_holds_one_split_in_the_order_of_the_manifest(town: str, workspace: Workspace) -> None:
    patch_set = opened(workspace, patch(workspace, small_project("patches.shard_mib=1", "patches.size_px=64")))
    for split in ("train", "val", "test"):
        table = patch_set.windows(split)
        for shard, group in table.groupby("shard"):
            assert group["index"].tolist() == list(range(len(patch_set.images(shard))))


def test_statistics_are_those_of_the_train_patches(made: PatchSet) -> None:
    patch_set = made
    shards = patch_set.windows("train")["shard"].unique()
    pixels = np.concatenate([patch_set.images(shard) for shard in shards]).reshape(-1, 3).astype(np.float64)
    labels = np.concatenate([patch_set.masks(shard) for shard in shards])
    statistics = patch_set.statistics
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, pixels.std(axis=0), rtol=1e-10)
    roof = (labels == 1).mean()
    np.testing.assert_allclose(statistics.class_fractions, (1 - roof, roof))
    np.testing.assert_allclose(statistics.class_weights, (0.5 / (1 - roof), 0.5 / roof))
    assert statistics.pixels == len(pixels)


def test_the_same_inputs_give_the_same_bytes(made: PatchSet, town: str, workspace: Workspace) -> None:
    again = patch(workspace)
    assert again.patch_set == made.id
    assert bytes_of(opened(workspace, again)) == bytes_of(made)


def test_scenes_extracted_in_any_order_give_the_same_set(made: PatchSet, town: str, workspace: Workspace) -> None:
    planned = patch(workspace, step="plan")
    assert planned.scenes == ["east", "north"]
    for scene in ("north", "east"):
        part = patch(workspace, step="extract", scenes=[scene], dataset_version="v1")
        assert part.scenes == [scene]
    done = patch(workspace, step="finalise", dataset_version="v1")
    assert (done.patch_set, done.windows) == (made.id, made.description.windows)
    assert bytes_of(opened(workspace, done)) == bytes_of(made)
    assert not (opened(workspace, done).folder / "parts").exists()


def test_what_exists_is_not_made_again(town: str, workspace: Workspace) -> None:
    first = patch(workspace)
    folder = opened(workspace, first).folder
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = patch(workspace)
    assert (again.changed, again.patch_set, again.windows) == (False, first.patch_set, first.windows)
    assert patch(workspace, step="plan").scenes == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_force_makes_the_same_set_again(town: str, workspace: Workspace) -> None:
    first = opened(workspace, patch(workspace))
    before = bytes_of(first)
    damaged = first.folder / "images-00000.npy"
    damaged.write_bytes(b"damaged")
    assert patch(workspace, force=True).changed
    assert bytes_of(first) == before


def test_another_version_with_the_same_content_is_the_same_set(
    town: str, versions: Versions, workspace: Workspace
) -> None:
    first = patch(workspace)
    versions.same_as("v1")
    again = patch(workspace)
    assert (again.patch_set, again.changed, again.dataset_version) == (first.patch_set, False, "v2")


def test_a_changed_parameter_gives_a_new_set_and_keeps_the_old(town: str, workspace: Workspace) -> None:
    first = patch(workspace)
    other = patch(workspace, small_project("patches.copies_per_positive=2"))
    assert other.patch_set != first.patch_set
    assert {found.id for found in list_patch_sets(workspace, "town")} == {first.patch_set, other.patch_set}
    assert open_patch_set(workspace, "town").id == other.patch_set
    patch(workspace)  # asked for again: it is what training means by "the newest" now
    assert open_patch_set(workspace, "town").id == first.patch_set


def test_reference_windows_stay_the_same_when_scenes_are_added(versions: Versions, workspace: Workspace) -> None:
    old = SceneSpec("a", 192, 192, polygons=scattered(30, 192, 192))
    again = SceneSpec("b", 192, 192, offset_px=(4, 6), polygons=scattered(30, 192, 192), seed=4)
    versions.add(old)
    versions.add(old, again)
    first, second = (opened(workspace, patch(workspace, dataset_version=name)) for name in ("v1", "v2"))

    def reference(patch_set: PatchSet) -> set[tuple[str, int, int, str]]:
        table = patch_set.manifest().query("kept and reference and split == 'test'")
        return set(zip(table["scene"], table["row"], table["col"], table["split"], strict=True))

    assert reference(first)
    assert reference(second) == reference(first)
    cohorts = second.manifest().groupby("scene")["cohort"].unique()
    assert cohorts["a"].tolist() == ["v1"]
    assert cohorts["b"].tolist() == ["v2"]


def test_several_classes_and_bands(versions: Versions, workspace: Workspace) -> None:
    versions.add(
        SceneSpec("a", 192, 192, bands=5, dtype="uint16", polygons=scattered(60, 192, 192, 3, classes=2), seed=8)
    )
    patch_set = opened(workspace, patch(workspace, small_project(classes="[roof, road]")))
    assert (patch_set.channels, patch_set.dtype) == (5, "uint16")
    mask = whole_mask(versions, "a")
    row = rows(patch_set, "test")[0]
    window = mask[row["row"] : row["row"] + 32, row["col"] : row["col"] + 32]
    assert row["fraction_road"] == (window == 2).mean()
    assert len(patch_set.statistics.class_weights) == 3
    assert patch_set.statistics.classes == ("background", "roof", "road")


def test_a_scene_smaller_than_a_patch_is_mirrored_and_kept(versions: Versions, workspace: Workspace) -> None:
    roof = [(shapely.box(2, 2, 15, 15), 1)]
    versions.add(
        SceneSpec("big", 128, 128, polygons=scattered(20, 128, 128)),
        SceneSpec("small", 20, 25, offset_px=(9000, 0), polygons=roof, seed=5),
    )
    patch_set = opened(workspace, patch(workspace))
    (row,) = patch_set.manifest().query("scene == 'small'").to_dict("records")
    assert row["kept"]
    assert row["nodata_fraction"] == pytest.approx(1 - 20 * 25 / 32**2)
    image, mask = patch_set.images(row["shard"])[row["index"]], patch_set.masks(row["shard"])[row["index"]]
    assert (image == np.pad(whole_image(versions, "small"), ((0, 12), (0, 7), (0, 0)), mode="reflect")).all()
    assert (mask == np.pad(whole_mask(versions, "small"), ((0, 12), (0, 7)), mode="reflect")).all()


def test_nodata_is_zero_in_shards_and_not_in_the_statistics(versions: Versions, workspace: Workspace) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(500, 50, (192, 192, 2)).astype(np.float32)
    pixels[rng.random((192, 192)) < 0.2] = -9999
    pixels[:, :64] = -9999
    pixels[0, 100] = [np.nan, 400]
    versions.add(
        SceneSpec(
            "a", 192, 192, bands=2, dtype="float32", nodata=-9999, pixels=pixels, polygons=scattered(40, 192, 192)
        )
    )
    patch_set = opened(workspace, patch(workspace))
    kept = rows(patch_set)
    assert all(np.isfinite(patch_set.images(row["shard"])).all() for row in kept)
    assert min(float(patch_set.images(row["shard"]).min()) for row in kept) == 0
    assert 440 < patch_set.statistics.mean[0] < 560
    assert patch_set.statistics.std[0] < 80
    manifest = patch_set.manifest()
    empty = manifest[manifest["col"] + 32 <= 64]
    assert set(empty["reason"]) == {"nodata"}


def test_a_scene_without_polygons_gives_a_few_negatives(versions: Versions, workspace: Workspace) -> None:
    versions.add(
        SceneSpec("field", 160, 160, offset_px=(9000, 0), polygons=[], seed=2),
        SceneSpec("town", 160, 160, polygons=scattered(30, 160, 160)),
    )
    manifest = opened(workspace, patch(workspace)).manifest()
    field = manifest.query("scene == 'field' and split == 'train'")
    assert 0 < field["kept"].sum() <= 0.05 * len(field) + 1
    assert not field["positive"].any()


def test_a_project_without_any_positive_warns(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("field", 160, 160, polygons=[]))
    result = patch(workspace)
    assert any("No train window holds class roof" in warning for warning in result.warnings)
    assert any("No test window holds class roof" in warning for warning in result.warnings)


def test_a_long_narrow_scene(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("river", 40, 2000, polygons=scattered(80, 40, 2000)))
    windows = patch(workspace).windows
    assert all(windows[split] > 0 for split in ("train", "val", "test"))


def test_a_scene_of_nodata_only_says_so(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("void", 192, 192, nodata=0, pixels=np.zeros((192, 192, 3), np.uint8), polygons=[]))
    with pytest.raises(BadDataError, match="with data"):
        patch(workspace)


def test_scenes_in_pixel_space(versions: Versions, workspace: Workspace) -> None:
    versions.add(
        SceneSpec("a", 192, 192, crs=None, polygons=scattered(30, 192, 192)),
        SceneSpec("b", 192, 192, crs=None, polygons=scattered(30, 192, 192, 1), seed=1),
    )
    patch_set = opened(workspace, patch(workspace))
    assert patch_set.gsd_m is None
    mask = whole_mask(versions, "a")
    row = next(row for row in rows(patch_set) if row["scene"] == "a")
    window = mask[row["row"] : row["row"] + 32, row["col"] : row["col"] + 32]
    assert row["fraction_roof"] == (window == 1).mean()


def test_no_labelled_scene_says_how_to_label(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", polygons=None))
    with pytest.raises(BadDataError, match=r"None of the 1 scene.*label file.*ingest again"):
        patch(workspace)


def test_scenes_of_different_types_are_named(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", polygons=[]), SceneSpec("b", polygons=[], dtype="uint16"))
    with pytest.raises(BadDataError, match="a uint8, b uint16"):
        patch(workspace)


def test_unknown_and_unlabelled_scenes_are_told_apart(town: str, workspace: Workspace) -> None:
    patch(workspace, step="plan")
    with pytest.raises(NotFoundError, match="labelled ones: east, north"):
        patch(workspace, step="extract", scenes=["west"])
    with pytest.raises(BadDataError, match="'wild' of v1 has no labels"):
        patch(workspace, step="extract", scenes=["wild"])


def test_an_unknown_scene_is_said_also_when_there_is_nothing_to_do(made: PatchSet, workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="No scene 'nort'"):
        patch(workspace, scenes=["nort"])


def test_finalise_names_the_scenes_not_extracted(town: str, workspace: Workspace) -> None:
    patch(workspace, step="plan")
    patch(workspace, step="extract", scenes=["east"])
    with pytest.raises(BadDataError, match=r"1 of 2 scenes .* not extracted: north"):
        patch(workspace, step="finalise")
    assert list_patch_sets(workspace, "town") == []


def test_opening_what_is_not_there_lists_what_is(town: str, workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="satseg patch -p town"):
        open_patch_set(workspace, "town")
    made = patch(workspace)
    with pytest.raises(NotFoundError, match=made.patch_set):
        open_patch_set(workspace, "town", "0123456789ab")


def test_a_damaged_patch_set_says_how_to_mend_it(town: str, workspace: Workspace) -> None:
    patch_set = opened(workspace, patch(workspace))
    (patch_set.folder / "statistics.json").write_text("{")
    with pytest.raises(BadDataError, match=r"statistics.json is damaged .* run satseg patch again"):
        open_patch_set(workspace, "town")


def test_labels_with_other_class_ids_than_the_project_file_gives_are_refused(
    town: str, versions: Versions, workspace: Workspace
) -> None:
    for record in versions.open(None, "town", town).scenes:
        record.item["properties"]["label:classes"] = [{"name": "class", "classes": ["roof", "road"]}]
    with pytest.raises(ConfigurationError, match=r"v1 \(scenes east, north.*\(road, roof\).*satseg ingest -p town"):
        patch(workspace, small_project(classes="[road, roof]"))
    patch(workspace, small_project(classes="[roof, road, added]"))
