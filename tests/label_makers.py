"""Writes the same polygons in every label format; polygons are given in pixels of a 96 px scene."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.geometry import mapping

from satseg.annotations.fitting import fit_labels
from satseg.annotations.labels import SceneFrame
from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.annotations.reading import read_labels
from satseg.annotations.table import AnnotationTable
from satseg.config.data import AnnotationConfig
from satseg.scenes.grid import Grid

SIZE = 96
CLASSES = ("building", "road")
SCENE = Grid(SIZE, SIZE, Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000), "EPSG:32632")
Drawn = list[tuple[Any, str]]  # geometry in pixels, class


def truth(drawn: Drawn, size: int = SIZE) -> np.ndarray:
    """What rasterio makes of the polygons on the whole scene."""
    shapes = [(area, CLASSES.index(name) + 1) for area, name in drawn]
    return rasterize(shapes, out_shape=(size, size), dtype="uint8") if shapes else np.zeros((size, size), np.uint8)


def on_ground(area: Any, crs: str = "EPSG:32632", grid: Grid = SCENE) -> Any:
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    there = shapely.transform(area, lambda xy: np.column_stack([xy @ [a, b] + c, xy @ [d, e] + f]))
    if crs == grid.crs:
        return there
    transformer = transformer_between(grid.crs, crs)
    return shapely.transform(there, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])))


@cache
def transformer_between(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def labelme(path: Path, drawn: Drawn) -> Path:
    shapes = [
        {"label": name, "shape_type": "polygon", "points": list(map(list, area.exterior.coords[:-1]))}
        for area, name in drawn
    ]
    return dump(path, {"shapes": shapes, "imageWidth": SIZE, "imageHeight": SIZE})


def geojson(path: Path, drawn: Drawn, crs: str = "EPSG:32632", grid: Grid = SCENE) -> Path:
    features = [
        {"type": "Feature", "properties": {"class": name}, "geometry": mapping(on_ground(area, crs, grid))}
        for area, name in drawn
    ]
    member = {"type": "name", "properties": {"name": crs}}
    return dump(path, {"type": "FeatureCollection", "crs": member, "features": features})


def vector(
    path: Path,
    drawn: Drawn,
    crs: str | None = "EPSG:32632",
    layer: str | None = None,
    grid: Grid = SCENE,
    **more: Any,
) -> Path:
    """Write a GeoPackage or Shapefile by the path's suffix."""
    driver = {".gpkg": "GPKG", ".shp": "ESRI Shapefile"}[path.suffix]
    areas = np.array([on_ground(area, crs or grid.crs, grid) for area, _ in drawn], dtype=object)
    options = {"geometry_type": "Unknown" if driver == "GPKG" else "Polygon", "column": "class"} | more
    pyogrio.raw.write(
        path,
        shapely.to_wkb(areas),
        [np.array([name for _, name in drawn], dtype=object)],
        [options.pop("column")],
        driver=driver,
        crs=crs,
        layer=layer,
        **options,
    )
    return path


def coco(path: Path, drawn: Drawn, form: str = "polygon", image: str = "a.tif") -> Path:
    """Write a COCO file; form is "polygon", "runs" (uncompressed RLE) or "text" (compressed RLE)."""
    annotations = []
    for number, (area, name) in enumerate(drawn):
        flat = [value for point in area.exterior.coords for value in point]
        annotations.append({"id": number + 1, "image_id": 7, "category_id": CLASSES.index(name) + 3, "iscrowd": 0})
        annotations[-1]["segmentation"] = [flat] if form == "polygon" else encoded(truth([(area, name)]) > 0, form)
    return dump(path, coco_tree(annotations, image))


def coco_tree(annotations: list[dict[str, Any]], image: str = "a.tif") -> dict[str, Any]:
    images = [{"id": 7, "file_name": image, "width": SIZE, "height": SIZE}]
    categories = [{"id": number + 3, "name": name} for number, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def encoded(mask: np.ndarray, form: str) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    runs = [int(run) for run in np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat.astype(int)))]))]
    return {"size": list(mask.shape), "counts": runs if form == "runs" else compressed(runs)}


def compressed(runs: list[int]) -> str:
    """What rleToString of pycocotools' maskApi.c does."""
    text = ""
    for i, run in enumerate(runs):
        number = run - (runs[i - 2] if i > 2 else 0)
        more = True
        while more:
            digit = number & 0x1F
            number >>= 5
            more = number != -1 if digit & 0x10 else number != 0
            text += chr((digit | 0x20 if more else digit) + 48)
    return text


def raster(path: Path, ids: np.ndarray, grid: Grid | None = None, **profile: Any) -> Path:
    """Write a mask; without a grid it has no georeference. (H, W), or (C, H, W) of colours."""
    bands = ids[None] if ids.ndim == 2 else ids
    settings = {
        "driver": "PNG" if path.suffix == ".png" else "GTiff",
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
    } | profile
    if grid is not None:
        settings |= {"crs": grid.crs, "transform": grid.transform}
    palette = settings.pop("palette", None)
    with rasterio.open(path, "w", **settings) as dataset:
        dataset.write(bands)
        if palette:
            dataset.write_colormap(1, palette)
    return path


def dump(path: Path, tree: Any) -> Path:
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


def table_of(
    path: Path, scene: Grid = SCENE, source: Grid | None = None, classes: tuple[str, ...] = CLASSES, **how: Any
) -> AnnotationTable:
    """Read a label file and bring it onto the scene, as ingest does."""
    frame = SceneFrame(("a.tif",), scene, (source or scene, scene))
    labels = read_labels(path, AnnotationConfig(**how), classes).for_scene(frame)
    table, _ = fit_labels(labels, frame, classes, shared=labels.kind == "mask", line_buffer=how.get("line_buffer"))
    return table


def by_strips(table: AnnotationTable, rows: int, grid: Grid = SCENE) -> np.ndarray:
    """Rasterise strip by strip."""
    index = PolygonIndex(table)
    return np.vstack(
        [
            index.rasterize(window_transform(grid.transform, row, 0), min(rows, grid.height - row), grid.width)
            for row in range(0, grid.height, rows)
        ]
    )
