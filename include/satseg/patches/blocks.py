"""What is in each block of a scene: how much of it has data, and how much of each class."""

from collections.abc import Sequence

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from satseg.annotations.masks import PolygonIndex
from satseg.datasets.catalog import SceneRecord
from satseg.patches.windows import Block
from satseg.scenes.raster import gdal_environment

SAMPLES_PER_BLOCK = 16  # along each axis; the plan needs no better idea of where data is missing


def valid_areas(record: SceneRecord, blocks: Sequence[Block], block_px: int) -> NDArray[np.float64]:
    """Return the pixels with data in each block, (B,), estimated from a decimated mask."""
    full = np.array([(block.bottom - block.top) * (block.right - block.left) for block in blocks], dtype=float)
    step = max(1, block_px // SAMPLES_PER_BLOCK)
    shape = (-(-record.height // step), -(-record.width // step))
    with gdal_environment(), rasterio.open(record.path) as dataset:
        if all("all_valid" in (flag.name for flag in flags) for flags in dataset.mask_flag_enums):
            return full
        valid = dataset.dataset_mask(out_shape=shape) > 0
    shares = [
        valid[block.top // step : -(-block.bottom // step), block.left // step : -(-block.right // step)].mean()
        for block in blocks
    ]
    areas: NDArray[np.float64] = full * np.array(shares)
    return areas


def class_areas(
    polygons: PolygonIndex, blocks: Sequence[Block], transform: Affine, class_count: int
) -> NDArray[np.float64]:
    """Return the labelled pixels of each class in each block, (B, classes), from polygon areas."""
    areas = np.zeros((len(blocks), class_count))
    if not len(polygons) or not blocks:
        return areas
    edges = np.array([block[1:] for block in blocks], dtype=float)
    x, y = transform @ (edges[:, [1, 3, 3, 1]], edges[:, [0, 0, 2, 2]])
    outlines = shapely.polygons(np.stack([x, y], axis=-1))
    for geometries, class_ids in polygons.parts():
        which, found = shapely.STRtree(geometries).query(outlines, predicate="intersects")
        pieces = shapely.area(shapely.intersection(outlines[which], geometries[found]))
        np.add.at(areas, (which, class_ids[found].astype(np.int64) - 1), pieces / abs(transform.determinant))
    return areas
