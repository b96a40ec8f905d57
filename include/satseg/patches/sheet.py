"""Two pictures of a patch set: a contact sheet of windows with their labels, and the splits on the map."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from satseg.datasets.catalog import SceneRecord
from satseg.patches.patchset import SPLITS, PatchSet
from satseg.scenes.raster import gdal_environment

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = {"train": "#0072b2", "val": "#e69f00", "test": "#d55e00"}  # Okabe & Ito
CLASS_COLOURS = {
    "cyan": "#00e5ff", "yellow": "#f0e442", "pink": "#ff6ec7", "green": "#00c853", "orange": "#ff9100",
    "violet": "#7c4dff", "white": "#ffffff",
}  # fmt: skip
COLUMNS, ROWS = 8, {"train": 3, "val": 1, "test": 1}
OVERLAY = 0.45
MAP_PX, MOST_MAPS, MAPS_ACROSS = 900, 12, 3
DPI = 110


def draw_contact_sheet(patch_set: PatchSet, path: Path) -> None:
    """Write a PNG with windows of each split, labels laid over them; most hold something, some do not."""
    from matplotlib.figure import Figure

    rows = sum(ROWS.values())
    figure = Figure(figsize=(1.5 * COLUMNS, 1.62 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    first = 0
    for split in SPLITS:
        windows = patch_set.windows(split)
        axes = grid[first : first + ROWS[split]].ravel()
        first += ROWS[split]
        for axis in axes:
            axis.set_axis_off()
        for axis, (_, row) in zip(axes, _spread(windows, len(axes)).iterrows(), strict=False):
            _draw_window(axis, patch_set, row)
        axes[0].set_title(f"{split} · {len(windows)} windows", fontsize=9, loc="left", color=COLOURS[split])
    names = ", ".join(f"{name} {_class_colour(number)[0]}" for number, name in enumerate(patch_set.classes))
    figure.suptitle(f"Patch set {patch_set.id} of {patch_set.dataset_version} · labels: {names}", fontsize=10)
    figure.savefig(path, dpi=DPI, format="png")


def draw_split_maps(patch_set: PatchSet, records: Sequence[SceneRecord], path: Path) -> None:
    """Write a PNG with the kept windows of each scene over its image, coloured by split; at most twelve scenes."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    manifest, shown = patch_set.manifest(), list(records)[:MOST_MAPS]
    across = min(MAPS_ACROSS, len(shown))
    down = -(-len(shown) // across)
    side = 12 / across
    shape = float(np.mean([record.height / record.width for record in shown]))
    figure = Figure(figsize=(12, down * min(side * shape, 14) + 1.2), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axis in grid:
        axis.set_axis_off()
    for axis, record in zip(grid, shown, strict=False):
        _draw_map(axis, patch_set, record, manifest[manifest["scene"] == record.id])
    legend = [Patch(color=COLOURS[split], alpha=0.6, label=split) for split in SPLITS]
    figure.legend(handles=legend, loc="outside lower center", ncols=3, fontsize=9)
    more = f"; {len(shown)} of {len(records)} scenes" if len(shown) < len(records) else ""
    figure.suptitle(f"Splits of patch set {patch_set.id} ({patch_set.dataset_version}){more}", fontsize=10)
    figure.savefig(path, dpi=DPI, format="png")


def stretched(image: NDArray[Any], patch_set: PatchSet) -> NDArray[np.float64]:
    """Return (H, W, C) in raw units as (H, W, 3) in 0..1: red, green, blue by name, two deviations of train."""
    names = list(patch_set.bands)
    colours = ("red", "green", "blue")
    bands = [names.index(name) for name in colours] if set(colours) <= set(names) else [0, 1, 2]
    if len(names) < 3:
        bands = [0, 0, 0]
    mean, std = np.array(patch_set.statistics.mean)[bands], np.array(patch_set.statistics.std)[bands]
    unit: NDArray[np.float64] = np.nan_to_num((image[..., bands] - mean) / (4 * std) + 0.5).clip(0, 1)
    return unit


def _spread(windows: "pd.DataFrame", count: int) -> "pd.DataFrame":
    """Return up to `count` windows spread over the split, three quarters of them positive when there are enough."""
    positive, negative = windows[windows["positive"]], windows[~windows["positive"]]
    negatives = min(len(negative), max(count // 4, count - len(positive)))
    parts = []
    for some, wanted in ((positive, count - negatives), (negative, negatives)):
        places = np.unique(np.linspace(0, len(some) - 1, min(wanted, len(some))).round().astype(int))
        parts.append(some.iloc[places])
    import pandas as pd

    return pd.concat(parts)


def _draw_window(axis: "Axes", patch_set: PatchSet, row: "pd.Series[Any]") -> None:
    from matplotlib.colors import to_rgb

    image = stretched(np.asarray(patch_set.images(row["shard"])[row["index"]]), patch_set)
    mask = np.asarray(patch_set.masks(row["shard"])[row["index"]])
    for number in range(len(patch_set.classes)):
        labelled = mask == number + 1
        image[labelled] = (1 - OVERLAY) * image[labelled] + OVERLAY * np.array(to_rgb(_class_colour(number)[1]))
    axis.imshow(image)
    axis.text(
        0.02, 0.02, f"{row['scene'][:14]} {row['row']},{row['col']}", transform=axis.transAxes, fontsize=5,
        color="white", bbox={"facecolor": "black", "alpha": 0.5, "pad": 0.8, "linewidth": 0},
    )  # fmt: skip


def _draw_map(axis: "Axes", patch_set: PatchSet, record: SceneRecord, windows: "pd.DataFrame") -> None:
    from matplotlib.colors import to_rgb

    picture = _small(record, patch_set)
    down, across = record.height / picture.shape[0], record.width / picture.shape[1]
    for split in SPLITS:
        rows = windows[windows["kept"] & (windows["split"] == split)]
        covered: NDArray[np.bool_] = np.zeros(picture.shape[:2], dtype=bool)
        border = covered.copy()
        for row, col, size in rows[["row", "col", "size"]].to_numpy().tolist():
            inside = np.s_[_map_pixels(row, size, down), _map_pixels(col, size, across)]
            covered[inside] = True
            if split != "train":  # training windows overlap: their borders would hide the picture
                border[inside][[0, -1]] = True
                border[inside][:, [0, -1]] = True
        colour = np.array(to_rgb(COLOURS[split]))
        picture[covered] = (1 - OVERLAY) * picture[covered] + OVERLAY * colour
        picture[border] = colour
    axis.imshow(picture, extent=(0, record.width, record.height, 0))
    kept = windows["kept"].sum()
    dropped = windows.loc[~windows["kept"], "reason"].value_counts()
    reasons = "".join(f", {count} {reason}" for reason, count in dropped.items())
    axis.set_title(f"{record.id}: {kept} windows kept{reasons}", fontsize=8)


def _map_pixels(start: int, size: int, factor: float) -> slice:
    """Return where a window lies along an axis of a picture reduced by a factor: at least one pixel."""
    first = int(start / factor)
    return slice(first, max(first + 1, int((start + size) / factor)))


def _small(record: SceneRecord, patch_set: PatchSet) -> NDArray[np.float64]:
    """Return a scene reduced to at most MAP_PX pixels along its longer side, ready to draw."""
    import rasterio

    factor = max(1.0, max(record.height, record.width) / MAP_PX)
    shape = (len(record.bands), max(1, round(record.height / factor)), max(1, round(record.width / factor)))
    with gdal_environment(), rasterio.open(record.path) as dataset:
        pixels = dataset.read(out_shape=shape)
    return stretched(np.moveaxis(pixels, 0, -1), patch_set)


def _class_colour(number: int) -> tuple[str, str]:
    """Return name and code of a class's colour, by place in the list of classes."""
    return list(CLASS_COLOURS.items())[number % len(CLASS_COLOURS)]
