"""Finding scenes and label files in a folder, and which label file belongs to which scene."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from satseg.annotations.reading import LABEL_SUFFIXES, looks_like_labels
from satseg.errors import BadDataError, ConfigurationError
from satseg.scenes.source import RASTER_SUFFIXES

SHARED_LABELS = ("labels.geojson", "annotations.geojson", "labels.json", "annotations.json")
_WORLD_FILES = (".tfw", ".tifw", ".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw")
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class SceneSource:
    """A scene as it was dropped.

    `raster` is None where only labels came, for a scene the dataset already has. `labels` is the label file with the
    scene's stem; `shared_labels` the folder-level file, which counts only when there is no such file.
    """

    id: str
    raster: Path | None
    labels: Path | None = None
    shared_labels: Path | None = None
    sidecars: tuple[Path, ...] = ()
    problem: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The scene's own files: raster, sidecars, stem label file."""
        return tuple(path for path in (self.raster, *self.sidecars, self.labels) if path is not None)

    @property
    def name(self) -> str:
        """The file people know the scene by."""
        return (self.raster or self.labels or self.shared_labels or Path(self.id)).name


@dataclass(frozen=True)
class Discovery:
    """Everything found in a folder."""

    root: Path
    scenes: tuple[SceneSource, ...]
    shared_labels: tuple[Path, ...]
    ignored: tuple[Path, ...]
    warnings: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files seen, ignored ones too."""
        own = {path for scene in self.scenes for path in scene.files}
        return tuple(sorted(own | set(self.shared_labels) | set(self.ignored)))


def scene_id(stem: str) -> str:
    """Return a file's stem as a scene id: ASCII letters, digits, '.', '_' and '-'."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    slug = re.sub(r"\.{2,}", ".", slug).strip("-._")[:100]
    return slug or "scene-" + hashlib.sha256(stem.encode()).hexdigest()[:8]


def discover(source: Path, known: Collection[str] = (), awaiting: Collection[str] = ()) -> Discovery:
    """Look for scenes in a folder and below, or take one raster file with its neighbours of the same name.

    Args:
        source: folder or raster file; only read.
        known: ids of scenes in the dataset, for which labels alone may come.
        awaiting: those of them that a folder-level label file may serve: without labels of their own.

    Raises:
        ConfigurationError: there is no such folder.
        BadDataError: a single file is not a raster by its suffix.
    """
    if not source.exists():
        raise ConfigurationError(f"Folder {source} does not exist. Give a folder of scenes (GeoTIFF, PNG or JPEG).")
    files = _Files(_files_below(source) if source.is_dir() else _neighbours(source))
    warnings: list[str] = []
    scenes = _with_rasters(source if source.is_dir() else source.parent, files, warnings)
    taken = {path for scene in scenes for path in scene.files} | set(files.shared)
    left = [path for paths in files.labels.values() for path in paths if path not in taken]
    scenes += _labels_only(left, known, {scene.id for scene in scenes}, warnings)
    if not files.rasters and files.shared:
        labelled = {scene.id for scene in scenes}
        scenes += [SceneSource(i, None, shared_labels=files.shared[0]) for i in sorted(awaiting) if i not in labelled]
    taken |= {path for scene in scenes for path in scene.files}
    return Discovery(
        root=source,
        scenes=tuple(sorted(scenes, key=lambda scene: scene.id)),
        shared_labels=tuple(files.shared),
        ignored=tuple(path for path in files.all if path not in taken),
        warnings=tuple(warnings),
    )


class _Files:
    """The files of a folder, sorted into what they can be."""

    def __init__(self, paths: list[Path]) -> None:
        self.all = paths
        self.rasters = [path for path in paths if path.suffix.lower() in RASTER_SUFFIXES]
        shared = [path for path in paths if path.name.lower() in SHARED_LABELS]
        self.shared = sorted(shared, key=lambda path: (len(path.parts), SHARED_LABELS.index(path.name.lower())))
        self.labels: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            if path.suffix.lower() in LABEL_SUFFIXES and path.name.lower() not in SHARED_LABELS:
                self.labels[scene_id(path.stem)].append(path)
        self._by_name = {(path.parent, path.name.lower()): path for path in paths}

    def sidecars(self, raster: Path) -> tuple[Path, ...]:
        """World file, .prj, .aux.xml and .msk of a raster."""
        names = [raster.stem + suffix for suffix in (*_WORLD_FILES, ".prj")]
        names += [f"{raster.name}.aux.xml", f"{raster.name}.msk"]
        found = (self._by_name.get((raster.parent, name.lower())) for name in names)
        return tuple(path for path in found if path is not None)

    def stem_labels(self, raster: Path) -> list[Path]:
        """Label files with the raster's stem: its own folder first, GeoJSON before JSON."""
        return sorted(
            self.labels.get(scene_id(raster.stem), []),
            key=lambda path: (path.parent != raster.parent, LABEL_SUFFIXES.index(path.suffix.lower()), str(path)),
        )

    def shared_labels(self, raster: Path) -> Path | None:
        """The nearest folder-level label file at or above the raster's folder."""
        serving = [path for path in self.shared if raster.is_relative_to(path.parent)]
        depth = max((len(path.parts) for path in serving), default=0)
        return next((path for path in serving if len(path.parts) == depth), None)


def _files_below(folder: Path) -> list[Path]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return [path for path in visible if path.suffix.lower() not in _UNFINISHED]


def _neighbours(raster: Path) -> list[Path]:
    if raster.suffix.lower() not in RASTER_SUFFIXES:
        raise BadDataError(f"{raster} is no scene by its suffix; scenes end in {', '.join(RASTER_SUFFIXES)}.")
    others = (path for path in sorted(raster.parent.iterdir()) if path.is_file() and path != raster)
    wanted = [
        path
        for path in others
        if (path.stem == raster.stem and path.suffix.lower() not in RASTER_SUFFIXES)
        or path.name.lower() in (*SHARED_LABELS, f"{raster.name}.aux.xml".lower(), f"{raster.name}.msk".lower())
    ]
    return [raster, *wanted]


def _with_rasters(root: Path, files: _Files, warnings: list[str]) -> list[SceneSource]:
    by_id: dict[str, list[Path]] = defaultdict(list)
    # GeoTIFF before PNG before JPEG: beside a scene the others are quick looks
    for raster in sorted(files.rasters, key=lambda path: (RASTER_SUFFIXES.index(path.suffix.lower()), str(path))):
        by_id[scene_id(raster.stem).casefold()].append(raster)
    scenes: list[SceneSource] = []
    for first, *others in by_id.values():
        scene = scene_id(first.stem)
        fitting = files.stem_labels(first)
        own = fitting[0] if fitting else None
        warnings += [f"{path.name} ignored: {fitting[0].name} labels the scene '{scene}'" for path in fitting[1:]]
        scenes.append(SceneSource(scene, first, own, files.shared_labels(first), files.sidecars(first)))
        for other in others:
            if other.parent == first.parent and other.stem == first.stem:
                warnings.append(f"{other.name} ignored: {first.name} is the scene '{scene}'")
                continue
            reason = f"its scene id '{scene}' belongs to {first.relative_to(root)} of the same drop; rename one of them"
            scenes.append(SceneSource(scene_id(str(other.relative_to(root))), other, problem=reason))
    return scenes


def _labels_only(
    labels: list[Path], known: Collection[str], dropped: Collection[str], warnings: list[str]
) -> list[SceneSource]:
    scenes: dict[str, SceneSource] = {}
    for path in sorted(labels, key=lambda path: (LABEL_SUFFIXES.index(path.suffix.lower()), str(path))):
        scene = scene_id(path.stem)
        if scene in dropped:
            continue  # lost against the scene's label file, which has been said
        if scene in scenes:
            warnings.append(f"{path.name} ignored: {scenes[scene].name} labels the scene '{scene}'")
        elif scene in known:
            scenes[scene] = SceneSource(scene, None, path)
        elif looks_like_labels(path):
            there = ", ".join(sorted(known)[:5]) or "no scene yet"
            reason = (
                f"there is no scene '{scene}' for these labels, neither beside them nor in the dataset (it holds: "
                f"{there}); name the file like its scene"
            )
            scenes[scene] = SceneSource(scene, None, path, problem=reason)
    return list(scenes.values())
