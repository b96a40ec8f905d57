"""Which files of a folder hold labels, and by their names of which scene."""

from collections.abc import Iterator
from pathlib import Path

from satseg.annotations.reading import LABEL_SUFFIXES
from satseg.annotations.shapefile import SHAPEFILE_OTHERS, SHAPEFILE_REQUIRED
from satseg.annotations.vector import GEOPACKAGE_JOURNALS
from satseg.scenes.source import RASTER_SUFFIXES

SHARED_LABELS = tuple(
    f"{stem}{suffix}" for suffix in (".geojson", ".json", ".gpkg", ".shp") for stem in ("labels", "annotations")
)
LABEL_FOLDERS = ("masks", "labels")
WORLD_FILES = (".tfw", ".tifw", ".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw")
_MASK_ENDINGS = ("_mask", "-mask")
_ORDER = (*LABEL_SUFFIXES, *RASTER_SUFFIXES)


def is_mask(path: Path, root: Path) -> bool:
    """Return whether a raster is a label mask by its name, or by a folder below `root` that it lies in."""
    if path.suffix.lower() not in RASTER_SUFFIXES:
        return False
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return path.stem.lower().endswith(_MASK_ENDINGS) or any(name.lower() in LABEL_FOLDERS for name in folders)


def is_label_file(path: Path, root: Path) -> bool:
    """Return whether a file can hold the labels of one scene."""
    return is_mask(path, root) or (path.suffix.lower() in LABEL_SUFFIXES and path.name.lower() not in SHARED_LABELS)


def labelled_stem(path: Path) -> str:
    """Return the stem of the scene that a label file is named after."""
    if path.suffix.lower() in RASTER_SUFFIXES:
        for ending in _MASK_ENDINGS:
            if path.stem.lower().endswith(ending):
                return path.stem[: -len(ending)]
    return path.stem


def preference(path: Path) -> tuple[int, str]:
    """Return what sorts the label files of one scene: the first one counts."""
    return _ORDER.index(path.suffix.lower()), str(path)


def companions(labels: Path) -> tuple[Path, ...]:
    """Return the files that belong to a label file: parts of a Shapefile, a GeoPackage's journal, a world file."""
    return tuple(dict.fromkeys(path for name in _companion_names(labels) if (path := labels.with_name(name)).is_file()))


def with_companions(labels: Path | None) -> tuple[Path, ...]:
    """Return a label file and the files that belong to it; nothing for None."""
    return () if labels is None else (labels, *companions(labels))


def renamed(labels: Path, stem: str) -> dict[Path, str]:
    """Return the names of a label file and its companions when they are to label the scene `stem` beside it."""
    new = stem + _MASK_ENDINGS[0] if labels.suffix.lower() in RASTER_SUFFIXES else stem
    return {path: new + path.name[len(labels.stem) :] for path in with_companions(labels)}


def _companion_names(labels: Path) -> Iterator[str]:
    suffix = labels.suffix.lower()
    endings = {".shp": (*SHAPEFILE_REQUIRED, *SHAPEFILE_OTHERS), ".gpkg": GEOPACKAGE_JOURNALS}.get(suffix, ())
    if suffix in RASTER_SUFFIXES:
        endings = (*WORLD_FILES, ".prj")
        yield f"{labels.name}.aux.xml"
    for ending in endings:
        yield labels.stem + ending
        yield labels.stem + ending.upper()
