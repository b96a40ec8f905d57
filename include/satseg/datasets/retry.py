"""The quarantined scenes as a drop of their own: checked again after somebody mended the project file or the data."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from satseg.datasets.discovery import Discovery, SceneSource, discover
from satseg.datasets.quarantine import REASONS, read_entry


@dataclass(frozen=True)
class Quarantined:
    """What waits in quarantine; `folders` says in whose folder each scene lies."""

    found: Discovery
    folders: dict[str, Path]


def find_quarantined(quarantine: Path, known: Collection[str]) -> Quarantined:
    """Return the scenes in a project's quarantine that no version has accepted since.

    Args:
        quarantine: the project's quarantine folder.
        known: ids of the scenes in the dataset.
    """
    scenes: dict[str, SceneSource] = {}
    folders: dict[str, Path] = {}
    warnings: list[str] = []
    for folder in sorted(quarantine.iterdir()) if quarantine.is_dir() else []:
        entry = read_entry(folder)
        if entry is None or entry.get("resolved_by") is not None:
            continue
        inside = discover(folder, known)
        warnings += inside.warnings
        own = [scene for scene in inside.scenes if scene.labels != folder / REASONS] or [_gone(folder)]
        for scene in own:
            placed = _named(scene, folder, known, scenes)
            scenes[placed.id], folders[placed.id] = placed, folder
    found = Discovery(quarantine, tuple(scenes.values()), (), (), tuple(warnings))
    return Quarantined(found, folders)


def _named(scene: SceneSource, folder: Path, known: Collection[str], others: dict[str, SceneSource]) -> SceneSource:
    """Return a scene of an entry under the entry's name where its own belongs to another scene."""
    clash = scene.id in others or (scene.id in known and scene.id != folder.name and scene.raster is not None)
    if not clash:
        return scene
    reason = f"its scene id '{scene.id}' belongs to another scene; rename the file"
    return replace(scene, id=folder.name, problem=reason)


def _gone(folder: Path) -> SceneSource:
    reason = f"no scene and no label file is left in {folder.name}/; put it there again, or delete the folder"
    return SceneSource(folder.name, None, problem=reason)
