"""Raster masks: GeoTIFF anywhere on the ground, or a picture of the scene's size; streamed, whatever the size."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import Polygon

from satseg.annotations.labels import LabelFile, RawLabel, SceneFrame
from satseg.annotations.mask_values import MaskValues, mask_values
from satseg.annotations.placing import carrier, moved, pixel_of, same_crs
from satseg.annotations.vectorise import TILE_PX, Strip, vectorise
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError
from satseg.progress import progress_bar
from satseg.scenes.grid import Grid
from satseg.scenes.source import open_source, read_header

_STRIP_PX = 2**23
_COVERED_ENOUGH = 0.999
_ROUNDING_PX = 1e-6


@dataclass(frozen=True)
class MaskFile:
    """A raster mask; its pixels are read when a scene asks for them."""

    path: Path
    how: AnnotationConfig
    classes: tuple[str, ...]
    kind: str = "mask"
    crs: None = None
    total: int = 0

    def for_scene(self, frame: SceneFrame) -> LabelFile:
        """Return the mask's areas in the scene's coordinates.

        On a grid of the scene's CRS the pixels are taken as they are; from another CRS they are resampled (nearest)
        to the scene's grid.

        Raises:
            BadDataError: wrong size, wrong place, values without a class, or a damaged file.
        """
        with ExitStack() as stack:
            dataset = stack.enter_context(open_source(self.path))
            ground = self._ground(frame)
            bands = [i for i, c in zip(dataset.indexes, dataset.colorinterp, strict=True) if c != ColorInterp.alpha]
            values = self._values(dataset, bands)
            # the scene as it came: reprojected, it has corners without data
            part = self._covered_part(ground, frame.drawn_on[0])
            if not same_crs(ground.crs, frame.grid.crs):
                alpha = len(bands) < dataset.count
                dataset = stack.enter_context(_warped(dataset, ground, frame.grid, add_alpha=not alpha))
                ground = frame.grid
            window = _needed(ground, frame.grid)
            strips = self._strips(dataset, bands, values, window)
            labels = self._labels(vectorise(strips), ground.transform)
        notes = [f"{self.path.name} covers {min(part, 0.99):.0%} of the scene; the rest counts as background"]
        return LabelFile(
            path=self.path,
            kind="mask",
            crs=frame.grid.crs,
            crs_stated=True,
            image_size=(ground.width, ground.height) if ground.crs is None else None,
            labels=tuple(labels),
            notes=() if part > _COVERED_ENOUGH else tuple(notes),
        )

    def _labels(self, areas: list[tuple[Polygon, int]], to_ground: Affine) -> list[RawLabel]:
        """Turn areas in pixels into labels on the ground; empties the list, since there can be millions."""
        areas.reverse()
        labels = []
        while areas:
            area, class_id = areas.pop()
            labels.append(RawLabel(moved(area, to_ground), self.classes[class_id - 1]))
        return labels

    def _ground(self, frame: SceneFrame) -> Grid:
        """Return the grid of the mask's pixels; one without georeference takes that of the image of its size."""
        grid = read_header(self.path).grid
        if grid.crs is not None:
            if frame.grid.crs is None:
                raise BadDataError(
                    f"{self.path.name}: the mask is in {grid.crs} but the scene has no CRS; give the scene one (a .prj "
                    "and a world file), or a mask without georeference"
                )
            return grid
        for drawn in frame.drawn_on:
            if (drawn.width, drawn.height) == (grid.width, grid.height):
                return drawn
        raise BadDataError(
            f"{self.path.name}: the mask has {grid.width} x {grid.height} pixels and no georeference, but the scene "
            f"has {frame.drawn_on[0].width} x {frame.drawn_on[0].height}; export it in the scene's size, or as a "
            "GeoTIFF with a CRS"
        )

    def _values(self, dataset: Any, bands: list[int]) -> MaskValues:
        if len(bands) not in (1, 3) or (len(bands) == 3 and set(dataset.dtypes) != {"uint8"}):
            raise BadDataError(
                f"{self.path.name} has {len(bands)} bands of {dataset.dtypes[0]}; a mask has one band of class values, "
                "or three of uint8 with a colour for each class"
            )
        has_palette = ColorInterp.palette in dataset.colorinterp
        palette = dataset.colormap(1) if has_palette else {}
        return mask_values(self.how, self.classes, len(bands) == 3, palette, self.path.name)

    def _covered_part(self, ground: Grid, scene: Grid) -> float:
        """Return the part of the scene that the mask's ground covers."""
        if ground.crs is None or scene.crs is None:
            return 1.0
        outline = carrier(ground.crs, scene.crs, pixel_of(scene))(np.array([ground.outline], dtype=object))[0]
        part = float(scene.outline.intersection(shapely.make_valid(outline)).area / scene.outline.area)
        if part == 0:
            raise BadDataError(
                f"{self.path.name}: the mask does not touch the scene; give the right file, or the right CRS in it"
            )
        return part

    def _strips(self, dataset: Any, bands: list[int], values: MaskValues, window: Window) -> Iterator[Strip]:
        rows = min(max(_STRIP_PX // window.width, 1), TILE_PX)
        bottom = window.row_off + window.height
        with progress_bar(f"Mask {self.path.name}", window.height) as advance:
            for row in range(window.row_off, bottom, rows):
                part = Window(window.col_off, row, window.width, min(rows, bottom - row))
                codes, covered = self._read(dataset, bands, part)
                yield row, window.col_off, values.classify(codes, covered, self.path.name, row)
                advance(part.height)

    def _read(self, dataset: Any, bands: list[int], window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        try:
            pixels = dataset.read(bands, window=window)
            covered: NDArray[np.bool_] = dataset.dataset_mask(window=window) > 0
        except RasterioError as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise BadDataError(
                f"{self.path.name}: its pixels near row {window.row_off} cannot be read ({cause}): the file is damaged "
                "or truncated; copy it again from its origin"
            ) from error
        if len(bands) == 3:
            red, green, blue = pixels.astype(np.int32)
            return red << 16 | green << 8 | blue, covered
        return self._whole(pixels[0], covered)

    def _whole(self, values: NDArray[Any], covered: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values as whole numbers; NaN is not covered."""
        if values.dtype.kind in "iu":
            return values if values.dtype.itemsize < 8 else np.clip(values, -1, 2**31), covered
        covered = covered & ~np.isnan(values)
        numbers = np.where(covered, values, 0)
        if not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
            raise BadDataError(
                f"{self.path.name} holds values that are not whole numbers ({values.dtype}); a mask has one whole "
                "number per class: export class values, not probabilities"
            )
        return np.clip(numbers, -1, 2**31 - 1).astype(np.int64), covered


def _needed(ground: Grid, scene: Grid) -> Window:
    """Return the window of the mask's pixels that meets the scene."""
    if ground.crs is None:
        return Window(0, 0, ground.width, ground.height)
    left, top, right, bottom = moved(scene.outline, ~ground.transform).bounds
    left, top = max(int(np.floor(left + _ROUNDING_PX)), 0), max(int(np.floor(top + _ROUNDING_PX)), 0)
    right = min(int(np.ceil(right - _ROUNDING_PX)), ground.width)
    bottom = min(int(np.ceil(bottom - _ROUNDING_PX)), ground.height)
    return Window(left, top, max(right - left, 1), max(bottom - top, 1))


def _warped(dataset: Any, ground: Grid, scene: Grid, *, add_alpha: bool) -> WarpedVRT:
    return WarpedVRT(
        dataset,
        src_crs=ground.crs,
        src_transform=ground.transform,
        crs=scene.crs,
        transform=scene.transform,
        width=scene.width,
        height=scene.height,
        resampling=Resampling.nearest,
        tolerance=_ROUNDING_PX,
        add_alpha=add_alpha,
        warp_mem_limit=64,
    )
