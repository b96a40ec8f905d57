"""Scenes of unusual shape, content and pixel type: a sensible result, or a message that helps."""

import numpy as np
import pytest
import shapely
from patch_scenes import SceneSpec, Versions, opened, patch, scattered, small_project
from test_patches_stage import rows, whole_image

from satseg.errors import BadDataError
from satseg.patches.moments import Moments
from satseg.storage.layout import Workspace


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 7])
def test_statistics_of_any_pixel_type_and_number_of_bands(dtype: str, bands: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(1, 120, (40, 50, bands)).astype(dtype)
    valid = rng.random((40, 50)) < 0.7
    moments = Moments.of(image, valid)
    np.testing.assert_allclose(moments.mean, image[valid].astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std(), image[valid].astype(np.float64).std(axis=0), rtol=1e-9)
    assert Moments.of(image, np.ones((40, 50), bool)).count == 2000


@pytest.mark.parametrize(("dtype", "bands"), [("int8", 1), ("uint32", 2), ("float64", 4), ("int32", 9)])
def test_patches_keep_pixel_type_and_bands(versions: Versions, workspace: Workspace, dtype: str, bands: int) -> None:
    pixels = np.random.default_rng(1).integers(1, 120, (160, 224, bands)).astype(dtype)
    versions.add(SceneSpec("a", 160, 224, bands=bands, dtype=dtype, pixels=pixels, polygons=scattered(30, 160, 224)))
    patch_set = opened(workspace, patch(workspace))
    image = whole_image(versions, "a")
    row = rows(patch_set, "test")[0]
    found = patch_set.images(row["shard"])[row["index"]]
    assert found.dtype == dtype
    assert (found == image[row["row"] : row["row"] + 32, row["col"] : row["col"] + 32]).all()
    assert len(patch_set.statistics.mean) == bands


def test_the_least_label_area_decides_what_is_positive(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("a", 192, 256, polygons=scattered(60, 192, 256)))
    manifest = opened(workspace, patch(workspace, small_project("patches.min_label_px=200"))).manifest()
    labelled = manifest["fraction_roof"] * 32**2
    assert (manifest["positive"] == (labelled >= 200)).all()
    assert ((labelled > 0) & (labelled < 200) & (manifest["split"] == "train")).any()


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(300, 20_000), (20_000, 300)])
@pytest.mark.parametrize("size", [128, 512])
def test_a_strip_of_a_flight(versions: Versions, workspace: Workspace, height: int, width: int, size: int) -> None:
    """Once a patch fits across it, once not."""
    versions.add(SceneSpec("strip", height, width, bands=1, polygons=scattered(900, height, width)))
    project = small_project(f"patches.size_px={size}", f"patches.stride_px={size // 2}", f"patches.block_px={size}")
    patch_set = opened(workspace, patch(workspace, project))
    assert all(count > 0 for count in patch_set.description.windows.values())
    manifest, seen = patch_set.manifest(), np.zeros((height, width), dtype=bool)
    for row, col in manifest[["row", "col"]].to_numpy():
        seen[row : row + size, col : col + size] = True
    assert seen.mean() > 0.99
    long = patch_set.windows("train").iloc[0]
    assert patch_set.images(long["shard"])[long["index"]].shape == (size, size, 1)


def test_a_scene_without_positives_among_others_still_teaches_its_ground(
    versions: Versions, workspace: Workspace
) -> None:
    versions.add(
        SceneSpec("empty", 160, 160, offset_px=(5000, 0), polygons=[]),
        SceneSpec("town", 160, 224, polygons=scattered(30, 160, 224)),
    )
    result = patch(workspace)
    kept = opened(workspace, result).manifest().query("kept and scene == 'empty'")
    assert len(kept)
    assert not kept["positive"].any()
    assert result.warnings == []


def test_a_scene_of_nodata_among_others_gives_no_window(versions: Versions, workspace: Workspace) -> None:
    void = np.zeros((160, 160, 3), np.uint8)
    versions.add(
        SceneSpec(
            "void", 160, 160, offset_px=(5000, 0), nodata=0, pixels=void, polygons=[(shapely.box(0, 0, 50, 50), 1)]
        ),
        SceneSpec("town", 160, 224, nodata=0, polygons=scattered(30, 160, 224)),
    )
    manifest = opened(workspace, patch(workspace)).manifest()
    assert set(manifest.query("scene == 'void'")["reason"]) == {"nodata"}


def test_only_a_scene_smaller_than_a_patch_asks_for_more(versions: Versions, workspace: Workspace) -> None:
    versions.add(SceneSpec("tiny", 20, 25, polygons=scattered(2, 20, 25)))
    with pytest.raises(BadDataError, match="Add labelled scenes"):
        patch(workspace)
