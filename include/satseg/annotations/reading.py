"""Opening a label file of any known form; the content decides, not the file's name."""

import json
from pathlib import Path
from typing import Any

from satseg.annotations.geojson import parse_geojson
from satseg.annotations.labelme import parse_labelme
from satseg.annotations.labels import LabelFile
from satseg.errors import BadDataError

LABEL_SUFFIXES = (".geojson", ".json")


def read_labels(path: Path, class_property: str) -> LabelFile:
    """Read a LabelMe or GeoJSON file.

    Args:
        path: the file.
        class_property: GeoJSON property that holds the class name.

    Raises:
        BadDataError: the file is neither; the message says what it is instead.
    """
    tree = _tree(path)
    if "shapes" in tree:
        return parse_labelme(tree, path)
    if tree.get("type") in ("FeatureCollection", "Feature") and "stac_version" not in tree:
        return parse_geojson(tree, path, class_property)
    keys = ", ".join(list(tree)[:5]) or "none"
    raise BadDataError(
        f"{path.name} is neither LabelMe (no 'shapes') nor GeoJSON (no FeatureCollection); its keys: {keys}. "
        "Export the labels in one of these forms, or remove the file if it holds no labels"
    )


def looks_like_labels(path: Path) -> bool:
    """Return whether a JSON file has the form of a label file, so that it must not be passed over in silence."""
    try:
        tree = _tree(path)
    except BadDataError:
        return path.suffix.lower() == ".geojson"
    return "shapes" in tree or (tree.get("type") == "FeatureCollection" and "stac_version" not in tree)


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
