"""Opening a label file of any known form; the content decides, not the file's name."""

import json
from pathlib import Path
from typing import Any, TypeAlias

from satseg.annotations.coco import CocoFile, parse_coco
from satseg.annotations.geojson import parse_geojson
from satseg.annotations.labelme import parse_labelme
from satseg.annotations.labels import LabelFile
from satseg.annotations.raster_mask import MaskFile
from satseg.annotations.vector import read_vector
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError

JSON_SUFFIXES = (".geojson", ".json")
VECTOR_SUFFIXES = (".gpkg", ".shp")
MASK_SUFFIXES = (".tif", ".tiff", ".png")
LABEL_SUFFIXES = JSON_SUFFIXES + VECTOR_SUFFIXES  # in the order in which they count when there are several

Labels: TypeAlias = LabelFile | CocoFile | MaskFile


def read_labels(path: Path, how: AnnotationConfig, classes: tuple[str, ...]) -> Labels:
    """Read a label file: LabelMe, GeoJSON, COCO, GeoPackage, Shapefile or a raster mask.

    Args:
        path: the file.
        how: how the project reads labels.
        classes: the project's classes.

    Raises:
        BadDataError: the file is none of them, or damaged; the message says what it is instead.
    """
    suffix = path.suffix.lower()
    if suffix in VECTOR_SUFFIXES:
        return read_vector(path, how)
    if suffix in MASK_SUFFIXES:
        return MaskFile(path, how, classes)
    if suffix not in JSON_SUFFIXES:
        raise BadDataError(
            f"{path.name} cannot be a mask: JPEG changes pixel values; export it as PNG or GeoTIFF from where it was "
            "drawn"
        )
    tree, lines = _tree(path), how.line_buffer is not None
    if "shapes" in tree:
        return parse_labelme(tree, path, lines)
    if tree.get("type") in ("FeatureCollection", "Feature") and "stac_version" not in tree:
        return parse_geojson(tree, path, how.class_property, lines)
    if "images" in tree and "annotations" in tree:
        return parse_coco(tree, path)
    keys = ", ".join(list(tree)[:5]) or "none"
    raise BadDataError(
        f"{path.name} is neither LabelMe (no 'shapes') nor GeoJSON (no FeatureCollection) nor COCO (no 'images' and "
        f"'annotations'); its keys: {keys}. Export the labels in one of these forms, or remove the file if it holds no "
        "labels"
    )


def looks_like_labels(path: Path) -> bool:
    """Return whether a file has the form of a label file, so that it must not be passed over in silence."""
    if path.suffix.lower() not in JSON_SUFFIXES:
        return True
    try:
        tree = _tree(path)
    except BadDataError:
        return path.suffix.lower() == ".geojson"
    if "shapes" in tree or ("images" in tree and "annotations" in tree):
        return True
    return tree.get("type") == "FeatureCollection" and "stac_version" not in tree


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadDataError(f"{path.name} is not UTF-8 text; export the labels again") from error
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"{path.name} is not valid JSON ({error}); export the labels again") from error
    except OSError as error:
        raise BadDataError(f"{path.name} cannot be read ({error.strerror}); correct its permissions") from error
    if not isinstance(tree, dict):
        raise BadDataError(f"{path.name} holds a JSON {type(tree).__name__}, not an object; export the labels again")
    return tree
