"""Finding scenes and label files in a folder, and which label file belongs to which scene."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from satseg.annotations.reading import looks_like_labels
from satseg.datasets.composed import Composition, find_compositions
from satseg.datasets.label_files import (
    LABEL_FOLDERS,
    SHARED_LABELS,
    WORLD_FILES,
    is_label_file,
    is_mask,
    labelled_stem,
    preference,
    with_companions,
)
from satseg.datasets.walking import files_below
from satseg.errors import BadDataError, ConfigurationError
from satseg.scenes.source import RASTER_SUFFIXES

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class SceneSource:
    """A scene as it was dropped.

    `raster` is None where only labels came, for a scene the dataset already has; where a scene comes in several files,
    it is the one that describes them, and `composition` what it says. `labels` is the label file with the scene's
    stem; `shared_labels` the folder-level file, which counts only when there is no such file.
    """

    id: str
    raster: Path | None
    labels: Path | None = None
    shared_labels: Path | None = None
    sidecars: tuple[Path, ...] = ()
    problem: str | None = None
    composition: Composition | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The scene's own files: raster, members, sidecars, stem label file with what belongs to it."""
        members = self.composition.members if self.composition else ()
        own = (self.raster, *members, *self.sidecars, *with_companions(self.labels))
        return tuple(dict.fromkeys(path for path in own if path is not None))

    @property
    def shared_files(self) -> tuple[Path, ...]:
        """The folder-level label file with what belongs to it."""
        return with_companions(self.shared_labels)

    @property
    def name(self) -> str:
        """The file people know the scene by."""
        return self._known_by.name

    def name_in(self, root: Path) -> str:
        """Return the path of that file below a folder; its name alone where it does not lie there."""
        known_by = self._known_by
        inside = known_by.is_relative_to(root) and known_by != root
        return str(known_by.relative_to(root)) if inside else known_by.name

    @property
    def _known_by(self) -> Path:
        return self.raster or self.labels or self.shared_labels or Path(self.id)


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
    root = source if source.is_dir() else source.parent
    paths, passed_over = files_below(source) if source.is_dir() else (_neighbours(source), [])
    files = _Files([path for path in paths if path.suffix.lower() not in _UNFINISHED], root)
    warnings = [*passed_over, *files.shared_in_vain()]
    scenes = _with_rasters(root, files, warnings)
    shared = [path for labels in files.shared for path in with_companions(labels)]
    taken = {path for scene in scenes for path in scene.files} | set(shared)
    left = [path for paths in files.labels.values() for path in paths if path not in taken]
    scenes += _labels_only(left, known, {scene.id for scene in scenes}, warnings)
    if files.shared and not files.rasters and not files.composed:
        labelled = {scene.id for scene in scenes}
        scenes += [SceneSource(i, None, shared_labels=files.shared[0]) for i in sorted(awaiting) if i not in labelled]
    taken |= {path for scene in scenes for path in scene.files}
    return Discovery(
        root=source,
        scenes=tuple(sorted(scenes, key=lambda scene: scene.id)),
        shared_labels=tuple(shared),
        ignored=tuple(path for path in files.all if path not in taken),
        warnings=tuple(warnings),
    )


class _Files:
    """The files of a folder, sorted into what they can be."""

    def __init__(self, paths: list[Path], root: Path) -> None:
        self.all = paths
        self.composed, self.wrongly_composed = find_compositions(paths)
        parts = {member for composition in self.composed.values() for member in composition.members}
        rasters = [path for path in paths if path.suffix.lower() in RASTER_SUFFIXES and path not in parts]
        self.rasters = [path for path in rasters if not is_mask(path, root)]
        shared = [path for path in paths if path.name.lower() in SHARED_LABELS]
        self.shared = sorted(shared, key=lambda path: (len(path.parts), SHARED_LABELS.index(path.name.lower())))
        self.labels: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            if path in self.composed or path in self.wrongly_composed or path in parts:
                continue
            if is_label_file(path, root):
                self.labels[scene_id(labelled_stem(path))].append(path)
        self._by_name = {(path.parent, path.name.lower()): path for path in paths}

    def scene_id(self, scene: Path) -> str:
        """The id of the scene in a raster, or described by a file."""
        composition = self.composed.get(scene)
        return scene_id(scene.stem if composition is None else composition.id)

    def sidecars(self, scene: Path) -> tuple[Path, ...]:
        """World file, .prj, .aux.xml and .msk of a scene's rasters."""
        composition = self.composed.get(scene)
        rasters = (scene,) if composition is None else composition.members
        return tuple(path for raster in rasters for path in self._sidecars(raster))

    def _sidecars(self, raster: Path) -> tuple[Path, ...]:
        names = [raster.stem + suffix for suffix in (*WORLD_FILES, ".prj")]
        names += [f"{raster.name}.aux.xml", f"{raster.name}.msk"]
        found = (self._by_name.get((raster.parent, name.lower())) for name in names)
        return tuple(path for path in found if path is not None)

    def stem_labels(self, raster: Path) -> list[Path]:
        """Label files with the raster's stem: its own folder first, vector files before masks."""
        return sorted(
            self.labels.get(self.scene_id(raster), []),
            key=lambda path: (path.parent != raster.parent, *preference(path)),
        )

    def shared_labels(self, raster: Path) -> Path | None:
        """The nearest folder-level label file at or above the raster's folder."""
        serving = [path for path in self.shared if raster.is_relative_to(path.parent)]
        depth = max((len(path.parts) for path in serving), default=0)
        return next((path for path in serving if len(path.parts) == depth), None)

    def shared_in_vain(self) -> list[str]:
        """Return a warning for each folder-level label file that another one of its folder leaves without work."""
        first: dict[Path, Path] = {}
        return [
            f"{path.name} ignored: {first[path.parent].name} labels the scenes of this folder"
            for path in self.shared
            if first.setdefault(path.parent, path) != path
        ]


def _neighbours(scene: Path) -> list[Path]:
    """Return one scene's file, and what belongs to it."""
    if is_mask(scene, scene.parent):
        raise BadDataError(f"{scene} is a label mask by its name; give its scene, or the folder they lie in.")
    composed, wrong = find_compositions([scene])
    if scene.suffix.lower() not in RASTER_SUFFIXES and not composed and not wrong:
        raise BadDataError(
            f"{scene} is no scene by its suffix; scenes end in {', '.join(RASTER_SUFFIXES)}, or are a STAC Item or a "
            "YAML file of bands."
        )
    rasters = {scene, *(member for composition in composed.values() for member in composition.members)}
    stems = {raster.stem for raster in rasters} | {composition.id for composition in composed.values()}
    sidecars = {f"{raster.name}{suffix}".lower() for raster in rasters for suffix in (".aux.xml", ".msk")}
    homes = {raster.parent for raster in rasters}
    homes |= {inner for home in homes for inner in home.iterdir() if inner.name.lower() in LABEL_FOLDERS}
    others = (path for home in homes if home.is_dir() for path in home.iterdir() if path.is_file())
    wanted = {
        path
        for path in others
        if (path.stem in stems and path.suffix.lower() not in RASTER_SUFFIXES)
        or (is_mask(path, scene.parent) and labelled_stem(path) in stems)
        or path.name.lower() in (*SHARED_LABELS, *sidecars)
    }
    return sorted(rasters | wanted)


def _with_rasters(root: Path, files: _Files, warnings: list[str]) -> list[SceneSource]:
    by_id: dict[str, list[Path]] = defaultdict(list)
    for description in files.composed:
        by_id[files.scene_id(description).casefold()].append(description)
    # GeoTIFF before PNG before JPEG: beside a scene the others are quick looks
    for raster in sorted(files.rasters, key=lambda path: (RASTER_SUFFIXES.index(path.suffix.lower()), str(path))):
        by_id[files.scene_id(raster).casefold()].append(raster)
    scenes: list[SceneSource] = []
    for first, *others in by_id.values():
        scene, composition = files.scene_id(first), files.composed.get(first)
        fitting = files.stem_labels(first)
        own = fitting[0] if fitting else None
        warnings += [f"{path.name} ignored: {fitting[0].name} labels the scene '{scene}'" for path in fitting[1:]]
        shared, sidecars = files.shared_labels(first), files.sidecars(first)
        scenes.append(SceneSource(scene, first, own, shared, sidecars, composition=composition))
        for other in others:
            if other.parent == first.parent and (other.stem == first.stem or composition is not None):
                warnings.append(f"{other.name} ignored: {first.name} is the scene '{scene}'")
                continue
            reason = f"its scene id '{scene}' belongs to {first.relative_to(root)} of the same drop; rename one of them"
            scenes.append(SceneSource(scene_id(str(other.relative_to(root))), other, problem=reason))
    scenes += [
        SceneSource(scene_id(path.stem), path, problem=reason) for path, reason in files.wrongly_composed.items()
    ]
    return scenes


def _labels_only(
    labels: list[Path], known: Collection[str], dropped: Collection[str], warnings: list[str]
) -> list[SceneSource]:
    scenes: dict[str, SceneSource] = {}
    for path in sorted(labels, key=preference):
        scene = scene_id(labelled_stem(path))
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
