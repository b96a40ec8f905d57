"""No seam is left where windows meet, and the map does not depend on where the grid of windows begins.

The stand-in does what convolutional networks do: it sees a neighbourhood, and at the border of its window only a part
of it, the rest being zeros. So its answers are wrong there, and cutting without overlap shows it.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter
from shapely.geometry import Polygon

from satseg.inference.blend import blend
from satseg.inference.windows import plan_windows, read_strips

WINDOW = 64
KAMPALA = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")) / "kampala"


class Rows:
    """A scene in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels, self.height, self.width = pixels, *pixels.shape[:2]

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        return self.pixels[start:stop], np.ones((max(0, stop - start), self.width), bool)


def context_network(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return the brightness around a place up and left of each pixel; beyond the window's border there are zeros."""
    grey = images.astype(np.float32).mean(axis=-1)
    seen = gaussian_filter(grey, (0, 6, 6), mode="constant")
    seen = np.pad(seen, ((0, 0), (4, 0), (4, 0)))[:, :-4, :-4]
    return (1 / (1 + np.exp(-(seen - 110) / 12)))[..., None].astype(np.float32)


def mapped(pixels: NDArray[Any], overlap: float, weighting: str, window_px: int = WINDOW) -> NDArray[np.float32]:
    grid = plan_windows(*pixels.shape[:2], window_px, overlap)
    rows = blend(read_strips(Rows(pixels), grid), grid, context_network, 1, 8, weighting)
    return np.concatenate([finished.probabilities[..., 0] for finished in rows])


def excess_at_borders(probabilities: NDArray[np.float32], overlap: float) -> float:
    """Return by how many standard errors the steps over window borders are larger than the others."""
    grid = plan_windows(*probabilities.shape, WINDOW, overlap)
    edges = set(grid.cols) | {start + WINDOW for start in grid.cols}
    steps = np.abs(np.diff(probabilities, axis=1)).mean(axis=0)  # of column k: between pixels k and k + 1
    at_border = np.array([column + 1 in edges for column in range(len(steps))])
    inner = np.zeros(len(steps), bool)
    inner[WINDOW:-WINDOW] = True  # the scene's own edge is no seam
    here, elsewhere = steps[inner & at_border], steps[inner & ~at_border]
    return float((here.mean() - elsewhere.mean()) / (elsewhere.std() / np.sqrt(len(here))))


def ground(side: int = 640) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(side, side)), 12)
    grey = 110 + 45 * smooth / smooth.std() + rng.normal(0, 8, (side, side))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("weighting", ["hann", "triangle", "gaussian"])
def test_steps_over_window_borders_are_like_steps_elsewhere(weighting: str) -> None:
    assert abs(excess_at_borders(mapped(ground(), 0.5, weighting), 0.5)) < 3


def test_cutting_without_overlap_leaves_seams_that_this_test_sees() -> None:
    assert excess_at_borders(mapped(ground(), 0.0, "flat"), 0.0) > 20


def intersection_over_union(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.slow
@pytest.mark.skipif(not (KAMPALA / "ggaba_b.tif").is_file(), reason=f"{KAMPALA} is missing: set SHARED_DATA")
def test_shifting_the_grid_changes_the_iou_on_kampala_by_less_than_half_a_percent() -> None:
    with rasterio.open(KAMPALA / "ggaba_b.tif") as scene:
        pixels = np.moveaxis(scene.read([1, 2, 3]), 0, -1)
    outlines = json.loads((KAMPALA / "ggaba_b.json").read_text())["shapes"]
    roofs = [Polygon(outline["points"]).buffer(0) for outline in outlines]
    labels = rasterize(roofs, pixels.shape[:2], dtype="uint8") > 0
    inside = np.s_[WINDOW:, WINDOW:]
    differences = {}
    for overlap, weighting in ((0.5, "hann"), (0.0, "flat")):
        whole = mapped(pixels, overlap, weighting)[inside] >= 0.5
        before = intersection_over_union(whole, labels[inside])
        after = []
        for down, right in ((13, 0), (0, 29), (37, 51)):
            shifted = mapped(pixels[down:, right:], overlap, weighting)[WINDOW - down :, WINDOW - right :] >= 0.5
            after.append(intersection_over_union(shifted, labels[inside]))
        differences[weighting] = max(abs(value - before) for value in after)
    assert differences["hann"] < 0.005
    assert differences["flat"] > 2 * differences["hann"]  # the test can see a difference
