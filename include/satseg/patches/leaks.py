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
SLACK = 1e-4  # part of the buffer by which a distance may seem shorter, as a scene is measured at some points only
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

    The windows of each scene are compared with all held-out windows that lie near them on the globe, in metres on
    the ground around each, and in pixels without a CRS. This uses none of the arithmetic that placed the windows,
    nor which scenes it took for neighbours.

    Raises:
        SplitLeakError: listing the offending pairs.
    """
    kept = manifest[manifest["kept"]]
    held_out = kept[kept["split"] != "train"]
    places = _Places.of(held_out, plan.grounds())
    leaks: list[Leak] = []
    for record in plan.records:
        own = kept[kept["scene"] == record.id]
        near = held_out[places.near(_Places.of(own, plan.grounds()), record.id, plan.project.patches.buffer_m)]
        for splits, held_splits in ((("train",), ("val", "test")), (("val",), ("test",))):
            a = own[own["split"].isin(splits)]
            b = near[near["split"].isin(held_splits)]
            leaks += _leaks(plan, record.id, a, b)
    if leaks:
        config = plan.project.patches
        listed = "; ".join(str(leak) for leak in leaks[:SHOWN]) + ("; …" if len(leaks) > SHOWN else "")
        raise SplitLeakError(
            f"{len(leaks)} pair(s) of windows are nearer than the buffer ({config.buffer_m:g} m, {config.buffer_px} px "
            f"without a CRS): {listed}. This is a defect of satseg: please report it with the project file."
        )


@dataclass(frozen=True)
class _Places:
    """Where windows lie: scene, (N,), centre in geocentric metres, (N, 3), and distance to the farthest corner."""

    scene: NDArray[np.object_]
    centre: NDArray[np.float64]
    reach: NDArray[np.float64]

    @classmethod
    def of(cls, windows: "pd.DataFrame", grounds: dict[str, SceneGround]) -> "_Places":
        scenes = windows["scene"].to_numpy(dtype=object)
        centre, reach = np.full((len(windows), 3), np.inf), np.zeros(len(windows))
        rects = _rects(windows, grounds)
        for scene in np.unique(scenes):
            rows = np.flatnonzero(scenes == scene)
            if grounds[scene].crs is None:
                continue
            corners = grounds[scene].geocentric(rects[rows][:, [[1, 0], [3, 0], [3, 2], [1, 2]]])
            centre[rows] = corners.mean(axis=1)
            reach[rows] = np.linalg.norm(corners - centre[rows][:, None], axis=2).max(axis=1)
        return cls(scenes, centre, reach)

    def near(self, others: "_Places", scene: str, distance: float) -> NDArray[np.bool_]:
        """Return which windows are of a scene, or may lie within a distance of others', which are of that scene."""
        mine: NDArray[np.bool_] = self.scene == scene
        if not len(others.centre) or not np.isfinite(others.centre).all():
            return mine
        centre = others.centre.mean(axis=0)
        radius = (np.linalg.norm(others.centre - centre, axis=1) + others.reach).max()
        near: NDArray[np.bool_] = np.linalg.norm(self.centre - centre, axis=1) <= self.reach + radius + distance
        return mine | near


def _leaks(plan: PatchPlan, scene: str, a: "pd.DataFrame", b: "pd.DataFrame") -> list[Leak]:
    if a.empty or b.empty:
        return []
    grounds, config = plan.grounds(), plan.project.patches
    frame = grounds[scene]
    buffer = float(config.buffer_px) if frame.crs is None else config.buffer_m
    outside = _polygons(b, grounds, frame, shrink=0.0)
    tree = shapely.STRtree(outside)
    leaks = []
    for start in range(0, len(a), AT_A_TIME):
        some = a.iloc[start : start + AT_A_TIME]
        inside = _polygons(some, grounds, frame, shrink=TOLERANCE_PX)
        steps = _steps(frame, _rects(some, grounds))
        least = np.linalg.svd(steps, compute_uv=False).min(axis=1)
        which, found = tree.query(inside, predicate="dwithin", distance=buffer / least + TOLERANCE_PX)
        distances = shapely.distance(_on_ground(inside[which], steps[which]), _on_ground(outside[found], steps[which]))
        near = (distances < buffer * (1 - SLACK)) | (distances == 0)
        pairs = zip(which[near], found[near], distances[near], strict=True)
        leaks += [Leak(_name(some, int(i)), _name(b, int(j)), float(distance)) for i, j, distance in pairs]
    return leaks


def _steps(frame: SceneGround, rects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far a column and a row go in metres of the plane that touches the ground at each rectangle.

    (N, 2, 2), x and y of a column's step in the first column of each matrix, of a row's in the second.
    """
    if frame.crs is None:
        return np.broadcast_to(np.eye(2), (len(rects), 2, 2))
    centres = np.stack([rects[:, [1, 3]].mean(axis=1), rects[:, [0, 2]].mean(axis=1)], axis=1)
    here = frame.geocentric(centres)
    across, down = (frame.geocentric(centres + step) - here for step in ([1, 0], [0, 1]))
    plane: NDArray[np.float64] = np.linalg.qr(np.stack([across, down], axis=2))[1]
    return plane


def _on_ground(polygons: NDArray[np.object_], steps: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return quadrilaterals given in pixels in metres, each by the steps of a pixel where it lies."""
    corners = shapely.get_coordinates(polygons).reshape(len(polygons), 5, 2)
    placed: NDArray[np.object_] = shapely.polygons(corners @ steps.transpose(0, 2, 1))
    return placed


def _rects(windows: "pd.DataFrame", grounds: dict[str, SceneGround]) -> NDArray[np.float64]:
    """Return the windows, cut at their scene's edges, as top, left, bottom, right, (N, 4)."""
    top, left, size = (windows[name].to_numpy() for name in ("row", "col", "size"))
    height = windows["scene"].map({scene: ground.height for scene, ground in grounds.items()}).to_numpy()
    width = windows["scene"].map({scene: ground.width for scene, ground in grounds.items()}).to_numpy()
    return np.stack([top, left, np.minimum(top + size, height), np.minimum(left + size, width)], axis=1).astype(float)


def _polygons(
    windows: "pd.DataFrame", grounds: dict[str, SceneGround], frame: SceneGround, shrink: float
) -> NDArray[np.object_]:
    """Return the windows, cut at their scene's edges, as polygons in the pixels of `frame`."""
    polygons = np.empty(len(windows), dtype=object)
    scenes, rects = windows["scene"].to_numpy(), _rects(windows, grounds)
    for scene in np.unique(scenes):
        rows = np.flatnonzero(scenes == scene)
        polygons[rows] = grounds[scene].outlines(rects[rows] + shrink * np.array([1, 1, -1, -1]), frame)
    return polygons


def _name(windows: "pd.DataFrame", i: int) -> tuple[str, int, int, str]:
    row = windows.iloc[i]
    return str(row["scene"]), int(row["row"]), int(row["col"]), str(row["split"])
