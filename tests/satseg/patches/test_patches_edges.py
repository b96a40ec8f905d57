"""What happens at a scene's edge: shift, pad or drop."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_scenes import SceneSpec, Versions, opened, patch, scattered, small_project
from test_patches_stage import rows, whole_image, whole_mask

from satseg.config.patches import Edge, PatchConfig
from satseg.errors import BadDataError
from satseg.patches.patchset import PatchSet
from satseg.patches.scene_layout import SceneLayout
from satseg.patches.windows import HeldOut, Margin, SceneBlocks, axis_starts, block_grid, held_out_starts, no_rects
from satseg.storage.layout import Workspace

EDGES = ("shift", "pad", "drop")


def covered(starts: list[int], size: int) -> set[int]:
    return {position for start in starts for position in range(start, start + size)}


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 64), st.sampled_from(EDGES))
def test_windows_of_an_axis_cover_what_the_policy_says(extent: int, size: int, stride: int, edge: Edge) -> None:
    stride = min(stride, size)
    starts = axis_starts(extent, size, stride, edge)
    pixels = set(range(extent))
    if edge == "drop":
        fitting = (extent - size) // stride * stride + size if extent >= size else 0
        assert covered(starts, size) == set(range(fitting))
        return
    assert covered(starts, size) >= pixels
    over = max(starts) + size - extent
    assert over <= max(0, size - extent) if edge == "shift" else over < max(size, stride)
    assert starts == sorted(set(starts))
    if edge == "pad":
        assert all(start % stride == 0 for start in starts)
        assert starts[-1] < extent


@given(st.integers(1, 6), st.integers(1, 63), st.sampled_from(EDGES))
def test_held_out_windows_of_the_last_block_follow_the_policy(blocks: int, rest: int, edge: Edge) -> None:
    size, start = 32, 64 * (blocks - 1)
    extent = start + rest
    starts = held_out_starts(start, extent, extent, size, edge)
    if edge == "drop":
        assert covered(starts, size) == set(range(start, start + rest // size * size))
    else:
        assert covered(starts, size) >= set(range(start, extent))
        assert edge == "pad" or max(starts) + size <= max(extent, size)


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(16, 64), st.sampled_from(EDGES), st.booleans())
def test_every_pixel_of_a_scene_is_covered_as_the_policy_says(
    height: int, width: int, stride: int, edge: Edge, held: bool
) -> None:
    size = 64
    grid = block_grid("s", height, width, 128)
    blocks = SceneBlocks(height, width, grid, {block.name: "test" if held else "train" for block in grid})
    config = PatchConfig(size_px=size, stride_px=stride, block_px=128, edge=edge)
    seen = np.zeros((height, width), dtype=bool)
    for window in SceneLayout(blocks, HeldOut(no_rects(), no_rects()), Margin(5, 5), config).windows():
        assert window.reason == ""
        seen[window.row : window.row + size, window.col : window.col + size] = True
        assert edge == "pad" or window.row + size <= max(height, size)
    if edge != "drop":
        assert seen.all()
        return
    step = size if held else stride  # within a block, windows side by side; the last block may be longer
    fitting = [(extent - size) // step * step + size if extent >= size else 0 for extent in (height, width)]
    expected = np.zeros_like(seen)
    expected[: fitting[0], : fitting[1]] = True
    assert (seen == expected).all()


def edge_set(versions: Versions, workspace: Workspace, edge: str) -> PatchSet:
    roof = [(shapely.box(150, 100, 175, 140), 1)]
    versions.add(SceneSpec("a", 244, 203, polygons=scattered(40, 244, 203) + roof))
    project = small_project(f"patches.edge={edge}", "patches.size_px=64", "patches.stride_px=64", "patches.buffer_m=0")
    return opened(workspace, patch(workspace, project))


def test_padded_windows_mirror_themselves_and_nothing_beyond(versions: Versions, workspace: Workspace) -> None:
    patch_set = edge_set(versions, workspace, "pad")
    image, mask = whole_image(versions, "a"), whole_mask(versions, "a")
    padded = [row for row in rows(patch_set) if row["row"] + 64 > 244 or row["col"] + 64 > 203]
    assert padded
    for row in padded:
        inside = image[row["row"] : row["row"] + 64, row["col"] : row["col"] + 64]
        missing = [(0, 64 - extent) for extent in inside.shape[:2]]
        found = patch_set.images(row["shard"])[row["index"]]
        assert (found == np.pad(inside, (*missing, (0, 0)), mode="reflect")).all()
        labels = np.pad(mask[row["row"] : row["row"] + 64, row["col"] : row["col"] + 64], missing, mode="reflect")
        assert (patch_set.masks(row["shard"])[row["index"]] == labels).all()
        assert row["nodata_fraction"] == pytest.approx(1 - inside.shape[0] * inside.shape[1] / 64**2)


def test_padding_is_not_in_the_statistics(versions: Versions, workspace: Workspace) -> None:
    patch_set = edge_set(versions, workspace, "pad")
    image = whole_image(versions, "a").astype(np.float64)
    seen = [image[row["row"] : row["row"] + 64, row["col"] : row["col"] + 64] for row in rows(patch_set, "train")]
    pixels = np.concatenate([some.reshape(-1, 3) for some in seen])
    assert patch_set.statistics.pixels == len(pixels)
    np.testing.assert_allclose(patch_set.statistics.mean, pixels.mean(axis=0), rtol=1e-12)


def test_dropping_leaves_out_what_no_whole_window_fits_in(versions: Versions, workspace: Workspace) -> None:
    manifest = edge_set(versions, workspace, "drop").manifest()
    assert (manifest["row"] + 64 <= 244).all()
    assert (manifest["col"] + 64 <= 203).all()
    assert set(manifest["row"]) == {0, 64, 128}


def test_dropping_everything_says_so(versions: Versions, workspace: Workspace) -> None:
    versions.add(*(SceneSpec(f"s{i}", 30, 30, offset_px=(900 * i, 0), polygons=scattered(3, 30, 30)) for i in range(4)))
    with pytest.raises(BadDataError, match=r"No scene holds a whole window of 32 px.*'shift'"):
        patch(workspace, small_project("patches.edge=drop"))


def test_the_policy_is_part_of_the_id_and_the_default_is_not(town: str, workspace: Workspace) -> None:
    plain = patch(workspace, step="plan").patch_set
    assert patch(workspace, small_project("patches.edge=shift"), step="plan").patch_set == plain
    assert patch(workspace, small_project("patches.edge=pad"), step="plan").patch_set != plain
