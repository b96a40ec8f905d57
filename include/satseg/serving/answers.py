"""What a client gets: a mask as PNG or GeoTIFF, or polygons as GeoJSON, by its Accept header."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import rasterio
from numpy.typing import NDArray

from satseg.config.operation import InferenceConfig
from satseg.inference.components import find_groups
from satseg.inference.geojson import write_geojson
from satseg.inference.ground import Ground
from satseg.inference.palette import class_colour, colour_table
from satseg.inference.polygons import Identity, map_objects, polygon_rules
from satseg.scenes.grid import Grid
from satseg.serving.problems import NotAcceptableError

Kind = Literal["image/png", "image/tiff", "application/geo+json"]
KINDS: tuple[Kind, ...] = ("image/png", "image/tiff", "application/geo+json")
_ALSO = {"image/geotiff": "image/tiff", "application/json": "application/geo+json"}
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)")


@dataclass(frozen=True)
class Segmentation:
    """What the model found in an image, on the grid of the image that was sent.

    ids (H, W) uint8 class ids, 0 also where there is no data; probabilities (H, W, N) float32 without the background.
    """

    ids: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    grid: Grid
    classes: tuple[str, ...]
    model: str
    gsd_m: float | None


def chosen_kind(accept: str | None) -> Kind:
    """Return the format a client likes best; PNG when it does not mind.

    Raises:
        NotAcceptableError: it accepts none of them.
    """
    ranked: list[tuple[float, int, Kind]] = []
    for position, part in enumerate((accept or "*/*").split(",")):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        found = [match for match in map(_QUALITY.fullmatch, parameters) if match]
        quality = float(found[0][1]) if found else 1.0
        kind = _kind(_ALSO.get(name, name))
        if kind is not None and quality > 0:
            ranked.append((-quality, position, kind))
    if not ranked:
        raise NotAcceptableError(f"Accept {(accept or '')[:100]!r} is not made here; there are {', '.join(KINDS)}.")
    return min(ranked)[2]


def _kind(name: str) -> Kind | None:
    if name in {"*/*", "image/*"}:
        return "image/png"
    if name == "application/*":
        return "application/geo+json"
    return next((kind for kind in KINDS if kind == name), None)


def encode(found: Segmentation, kind: Kind, config: InferenceConfig) -> bytes:
    """Return the answer's body."""
    if kind == "image/png":
        return mask_png(found)
    with TemporaryDirectory(prefix="satseg-answer-") as folder:
        path = Path(folder) / "answer"
        if kind == "image/tiff":
            _write_geotiff(path, found)
        else:
            _write_polygons(path, found, config)
        return path.read_bytes()


def mask_png(found: Segmentation) -> bytes:
    """Return class ids as a PNG with a palette: the values are the ids, the colours those of the class."""
    from PIL import Image

    picture = Image.fromarray(found.ids, mode="P")
    colours = [class_colour(class_id) for class_id in range(len(found.classes) + 1)]
    picture.putpalette([value for colour in colours for value in colour])
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _write_geotiff(path: Path, found: Segmentation) -> None:
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": found.grid.height,
        "width": found.grid.width,
        "compress": "deflate",
        "zlevel": 1,
        "crs": found.grid.crs,
        "transform": found.grid.transform,
    }
    names = {f"class_{number}": name for number, name in enumerate(("background", *found.classes))}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(found.ids, 1)
        dataset.write_colormap(1, colour_table(len(found.classes)))
        dataset.update_tags(satseg_model=found.model, **names)


def _write_polygons(path: Path, found: Segmentation, config: InferenceConfig) -> None:
    ground = Ground(found.grid)
    rules = polygon_rules(config, ground, found.gsd_m, found.classes)
    identity = Identity("image", found.model, found.classes)
    strip = (0, found.ids, found.probabilities)
    groups = find_groups([strip], rules.least_pixels, grouped=len(found.classes) > 1)
    write_geojson(path, map_objects(groups, ground, rules, identity), found.grid)


def problem_json(status: int, title: str, detail: str, request_id: str) -> bytes:
    """Return a problem as RFC 9457 wants it."""
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": request_id}
    return json.dumps(problem, ensure_ascii=False).encode()
