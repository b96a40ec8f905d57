"""Pictures of a drift report, drawn to PNG bytes."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.datasets.catalog import SceneRecord
from satseg.stages import DriftResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE_COLOUR, NIGHT_COLOUR, GREY = "#4477aa", "#cc6611", "#666666"
VERDICT_COLOURS = {
    "drift": "#b3261e",
    "no drift": "#2e7d32",
    "not enough reference": "#999999",
    "no new scenes": "#cccccc",
}
COLUMNS = 4
SCENES_DRAWN = 8


def distributions(reference: pd.DataFrame, night: pd.DataFrame, features: Sequence[str], drifted: set[str]) -> bytes:
    """Draw the distribution functions of each feature, and where they are farthest apart (the KS distance)."""
    rows = -(-len(features) // COLUMNS)
    figure = _figure(12, 2.5 * rows)
    for index, feature in enumerate(features):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        pair = [np.sort(side[feature].to_numpy(float)) for side in (reference, night)]
        for values, colour, label in zip(pair, (REFERENCE_COLOUR, NIGHT_COLOUR), ("reference", "night"), strict=True):
            height = np.arange(1, values.size + 1) / values.size
            axes.step(values, height, where="post", color=colour, label=label, linewidth=1.6)
        places = np.concatenate(pair)
        heights = [np.searchsorted(values, places, side="right") / values.size for values in pair]
        widest = int(np.abs(heights[0] - heights[1]).argmax())
        axes.vlines(places[widest], heights[0][widest], heights[1][widest], color=GREY, linestyle="--", linewidth=1.2)
        name = feature.replace("_", " ")
        axes.set_title(
            f"{name} · drifted" if feature in drifted else name, fontsize=9, fontweight=_weight(feature, drifted)
        )
        axes.tick_params(labelsize=7)
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.25)
        if index == 0:
            axes.legend(fontsize=7, loc="lower right")
    return _png(figure)


def footprints(reference: Sequence[SceneRecord], night: Sequence[SceneRecord]) -> bytes | None:
    """Draw where the scenes lie in longitude and latitude; None when no scene of the night is on the map."""
    from matplotlib.patches import Rectangle

    if not any(record.footprint_wgs84 for record in night):
        return None
    figure = _figure(6, 4)
    axes = figure.add_subplot()
    for records, colour, label in ((reference, REFERENCE_COLOUR, "reference"), (night, NIGHT_COLOUR, "night")):
        boxes = [record.footprint_wgs84 for record in records if record.footprint_wgs84]
        # a point keeps a small scene visible on a map of a whole country
        middles = [((west + east) / 2, (south + north) / 2) for west, south, east, north in boxes]
        axes.plot(*np.reshape(middles, (-1, 2)).T, "o", color=colour, markersize=4, label=label)
        for west, south, east, north in boxes:
            axes.add_patch(Rectangle((west, south), east - west, north - south, color=colour, alpha=0.35))
    low, high = axes.get_ylim()
    axes.set_aspect(1 / max(np.cos(np.radians((low + high) / 2)), 0.05), adjustable="datalim")
    axes.set_xlabel("longitude", fontsize=8)
    axes.set_ylabel("latitude", fontsize=8)
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)
    return _png(figure)


def places(reference: pd.DataFrame, night: pd.DataFrame, feature: str) -> bytes:
    """Draw for each patch of the night's scenes how many of the reference's patches have a lower value, 0 to 100%."""
    scenes = list(dict.fromkeys(night["scene"]))[:SCENES_DRAWN]
    rows = -(-len(scenes) // COLUMNS)
    figure = _figure(12, 2.8 * rows)
    ordered = np.sort(reference[feature].to_numpy(float))
    image = None
    for index, scene in enumerate(scenes):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        image = _place(axes, night[night["scene"] == scene], feature, ordered)
        axes.set_title(scene, fontsize=9, parse_math=False)
    if image is not None:
        bar = figure.colorbar(image, ax=figure.axes, shrink=0.8, pad=0.02)
        bar.set_label("% of the reference below", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return _png(figure)


def trends(nights: Sequence[DriftResult]) -> bytes:
    """Draw night by night how far the farthest feature is away, and how far below its level the p-value lies."""
    figure = _figure(12, 4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(nights))
    farthest = [max((test.distance for test in night.features), default=np.nan) for night in nights]
    surprise = [_surprise(night) for night in nights]
    colours = [VERDICT_COLOURS[night.verdict] for night in nights]
    for axes, values, label in ((above, farthest, "largest distance"), (below, surprise, "level / p-value")):
        axes.plot(places, values, color=GREY, linewidth=0.8, zorder=1)
        axes.scatter(places, values, c=colours, s=28, zorder=2)
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    above.set_ylim(0, 1.02)
    below.set_yscale("log")
    below.axhline(1.0, color=VERDICT_COLOURS["drift"], linestyle="--", linewidth=1.0)
    for place, before, after in zip(places[1:], nights, nights[1:], strict=False):
        if before.champion != after.champion:  # another reference
            for axes in (above, below):
                axes.axvline(place - 0.5, color=GREY, linestyle=":", linewidth=1.0)
    shown = places[:: max(1, len(nights) // 12)]
    below.set_xticks(shown, [nights[place].night for place in shown], rotation=30, ha="right")
    return _png(figure)


def _surprise(night: DriftResult) -> float:
    if not night.p_value or night.level is None:
        return float("nan")
    return night.level / night.p_value


def _place(axes: "Axes", patches: pd.DataFrame, feature: str, ordered: NDArray[np.float64]) -> Any:
    rows, cols = (np.unique(patches[axis], return_inverse=True)[1] for axis in ("row", "col"))
    grid = np.full((rows.max() + 1, cols.max() + 1), np.nan)
    grid[rows, cols] = 100 * np.searchsorted(ordered, patches[feature].to_numpy(float), side="left") / ordered.size
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(grid, vmin=0, vmax=100, cmap="PuOr_r", interpolation="nearest")


def thumbnail(pixels: NDArray[np.generic], low: float, high: float) -> bytes:
    """Encode (H, W, 1 or 3) pixels as PNG, `low` black and `high` white."""
    import cv2

    scaled = np.clip((pixels.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
    encoded = cv2.imencode(".png", np.ascontiguousarray(np.rint(255 * scaled[..., ::-1])).astype(np.uint8))[1]
    return bytes(encoded.tobytes())


def _weight(feature: str, drifted: set[str]) -> str:
    return "bold" if feature in drifted else "normal"


def _figure(width: float, height: float) -> "Figure":
    # the object interface keeps no global state and needs no display
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
