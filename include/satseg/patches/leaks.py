"""The last word on leaks: distances between the windows really kept, measured as polygons on the ground."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from satseg.errors import SplitLeakError
from satseg.patches.ground import SceneGround
from satseg.patches.plan import PatchPlan

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE_PX = 1e-3  # rounding of coordinate transforms
SHOWN = 5
AT_A_TIME = 8192  # windows compared together; bounds the memory


@dataclass(frozen=True)
class Leak:
    """Two windows that are too near to each other, given as scene, row, column and split."""

    window: tuple[str, int, int, str]
    held_out: tuple[str, int, int, str]
    distance: float

    def __str__(self) -> str:
        texts = [
            f"{split} {scene} at row {row}, column {col}" for scene, row, col, split in (self.window, self.held_out)
        ]
        return f"{' and '.join(texts)}: {self.distance:.2f}"


def check_leaks(plan: PatchPlan, manifest: "pd.DataFrame") -> None:
    """Check that kept train windows keep the buffer to kept val and test windows, and val windows to test windows.

    Windows of all scenes are compared in the pixels of each scene, scaled to metres when it has a CRS. This uses
    none of the arithmetic that placed the windows.

    Raises:
        SplitLeakError: listing the offending pairs.
    """
    kept = manifest[manifest["kept"]]
    leaks: list[Leak] = []
    for record in plan.records:
        others = [record.id, *(other.id for other in plan.meeting(record))]
        own = kept[kept["scene"] == record.id]
        held_out = kept[kept["scene"].isin(others)]
        for splits, held_splits in ((("train",), ("val", "test")), (("val",), ("test",))):
            a = own[own["split"].isin(splits)]
            b = held_out[held_out["split"].isin(held_splits)]
            leaks += _leaks(plan, record.id, a, b)
    if leaks:
        config = plan.project.patches
        listed = "; ".join(str(leak) for leak in leaks[:SHOWN]) + ("; …" if len(leaks) > SHOWN else "")
        raise SplitLeakError(
            f"{len(leaks)} pair(s) of windows are nearer than the buffer ({config.buffer_m:g} m, {config.buffer_px} px "
            f"without a CRS): {listed}. This is a defect of satseg: please report it with the project file."
        )


def _leaks(plan: PatchPlan, scene: str, a: "pd.DataFrame", b: "pd.DataFrame") -> list[Leak]:
    if a.empty or b.empty:
        return []
    grounds, config = plan.grounds(), plan.project.patches
    frame = grounds[scene]
    down, across = (1.0, 1.0) if frame.crs is None else frame.metres_per_pixel()
    buffer = float(config.buffer_px) if frame.crs is None else config.buffer_m
    scale = np.array([across, down])
    outside = _scaled(_polygons(b, grounds, frame, shrink=0.0), scale)
    tree = shapely.STRtree(outside)
    leaks = []
    for start in range(0, len(a), AT_A_TIME):
        some = a.iloc[start : start + AT_A_TIME]
        inside = _scaled(_polygons(some, grounds, frame, shrink=TOLERANCE_PX), scale)
        which, found = tree.query(inside, predicate="dwithin", distance=buffer)
        distances = shapely.distance(inside[which], outside[found])
        near = (distances < buffer) | (distances == 0)
        pairs = zip(which[near], found[near], distances[near], strict=True)
        leaks += [Leak(_name(some, int(i)), _name(b, int(j)), float(distance)) for i, j, distance in pairs]
    return leaks


def _scaled(polygons: NDArray[np.object_], scale: NDArray[np.float64]) -> NDArray[np.object_]:
    scaled: NDArray[np.object_] = shapely.transform(polygons, lambda xy: xy * scale)
    return scaled


def _polygons(
    windows: "pd.DataFrame", grounds: dict[str, SceneGround], frame: SceneGround, shrink: float
) -> NDArray[np.object_]:
    """Return the windows, cut at their scene's edges, as polygons in the pixels of `frame`."""
    polygons = np.empty(len(windows), dtype=object)
    scenes = windows["scene"].to_numpy()
    for scene in np.unique(scenes):
        ground, rows = grounds[scene], np.flatnonzero(scenes == scene)
        chosen = windows.iloc[rows]
        top, left, size = (chosen[name].to_numpy() for name in ("row", "col", "size"))
        bottom, right = np.minimum(top + size, ground.height), np.minimum(left + size, ground.width)
        rects = np.stack([top, left, bottom, right], axis=1).astype(float)
        polygons[rows] = ground.outlines(rects + shrink * np.array([1, 1, -1, -1]), frame)
    return polygons


def _name(windows: "pd.DataFrame", i: int) -> tuple[str, int, int, str]:
    row = windows.iloc[i]
    return str(row["scene"]), int(row["row"]), int(row["col"]), str(row["split"])
