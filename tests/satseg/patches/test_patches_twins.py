"""The same picture twice, and ground that earlier models trained on."""

import numpy as np
import pytest
import shapely
from patch_scenes import SceneSpec, Versions, opened, outline, patch, scattered

from satseg.errors import SplitLeakError
from satseg.patches.patchset import PatchSet
from satseg.storage.layout import Workspace


def in_several_splits(patch_set: PatchSet) -> int:
    """Return how many images are in more than one split."""
    splits: dict[bytes, set[str]] = {}
    for split in ("train", "val", "test"):
        for row in patch_set.windows(split).itertuples():
            splits.setdefault(patch_set.images(row.shard)[row.index].tobytes(), set()).add(split)
    return sum(len(found) > 1 for found in splits.values())


def test_two_copies_of_a_picture_without_a_crs_share_their_split(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(40, 256, 256)
    same = [SceneSpec(name, 256, 256, crs=None, polygons=roofs, seed=5) for name in ("a", "b")]
    versions.add(*same, SceneSpec("c", 256, 256, crs=None, polygons=scattered(40, 256, 256, 1), seed=6))
    patch_set = opened(workspace, patch(workspace))
    assert in_several_splits(patch_set) == 0
    blocks = patch_set.manifest().groupby("scene")["split"].apply(list)
    assert blocks["a"] == blocks["b"] != blocks["c"]


def test_a_copy_that_comes_later_takes_the_split_of_the_first(versions: Versions, workspace: Workspace) -> None:
    first = SceneSpec("b", 256, 256, crs=None, polygons=scattered(40, 256, 256), seed=5)
    versions.add(first)
    versions.add(first, SceneSpec("a", 256, 256, crs=None, polygons=scattered(9, 256, 256), seed=5))
    patch(workspace, dataset_version="v1")
    assert in_several_splits(opened(workspace, patch(workspace, dataset_version="v2"))) == 0


def test_a_picture_with_and_without_a_crs_is_refused_when_it_leaks(versions: Versions, workspace: Workspace) -> None:
    roofs = scattered(40, 256, 256)
    versions.add(
        SceneSpec("placed", 256, 256, polygons=roofs, seed=5),
        SceneSpec("plain", 256, 256, crs=None, polygons=roofs, seed=5),
    )
    with pytest.raises(SplitLeakError, match=r"in two splits: .* placed at row .* plain at row .*keep one of them"):
        patch(workspace)
    assert not list(workspace.patches("town").glob("*/patchset.json"))


def test_water_is_the_same_everywhere_and_no_leak(versions: Versions, workspace: Workspace) -> None:
    pixels = np.full((256, 256, 3), 90, dtype=np.uint8)
    versions.add(SceneSpec("a", 256, 256, polygons=scattered(40, 256, 256), pixels=pixels))
    assert in_several_splits(opened(workspace, patch(workspace))) == 1


@pytest.mark.parametrize("offset", [(28.0, 28.0), (0.0, 0.0)])
def test_new_held_out_windows_keep_off_ground_that_was_trained_on(
    versions: Versions, workspace: Workspace, offset: tuple[float, float]
) -> None:
    first = SceneSpec("a", 320, 320, polygons=scattered(60, 320, 320))
    versions.add(first)
    new = SceneSpec("b", 448, 448, offset_px=offset, polygons=scattered(90, 448, 448), seed=3)
    versions.add(first, new)
    old = opened(workspace, patch(workspace, dataset_version="v1")).manifest().query("kept and split == 'train'")
    manifest = opened(workspace, patch(workspace, dataset_version="v2")).manifest()
    records = {record.id: record for record in versions.open(None, "town").scenes}
    trained = shapely.union_all([outline(records["a"], row.row, row.col, 32) for row in old.itertuples()])
    held_out = manifest.query("kept and split != 'train' and scene == 'b'")
    assert len(held_out)
    for row in held_out.itertuples():
        assert outline(records["b"], row.row, row.col, 32).intersection(trained).area < 0.5**2 * 32 * 2
    assert (manifest["reason"] == "was trained on").any() == (offset != (0.0, 0.0))
    assert not (manifest.query("scene == 'a'")["reason"] == "was trained on").any()
