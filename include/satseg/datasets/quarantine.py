"""The place for what could not be used: one folder per scene with its files and reasons.json."""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.datasets.names import one_line
from satseg.storage.atomic import replacing_directory, replacing_file, write_json

COPY_UP_TO_BYTES = 256 * 2**20  # larger files of a foreign folder are linked
REASONS = "reasons.json"


@dataclass(frozen=True)
class Rejected:
    """A scene (or label file) that cannot be used, its files and why; `shared` files serve other scenes as well."""

    id: str
    name: str
    files: tuple[Path, ...]
    reasons: tuple[str, ...]
    shared: tuple[Path, ...] = ()

    @property
    def places(self) -> dict[Path, Path]:
        """Where each file lies below the scene's folder: as it lay beside the others."""
        files = (*self.files, *self.shared)
        if not files:
            return {}
        base = os.path.commonpath([file.parent for file in files])
        return {file: file.relative_to(base) for file in files}


def quarantine(folder: Path, rejected: Rejected, source: Path) -> None:
    """Write `folder`/<scene>/ anew: copies of the files (links to large ones) and reasons.json.

    The files stay where they are; moving them out of incoming/ comes after the version is made.
    """
    with replacing_directory(folder / rejected.id) as temp:
        for file, place in rejected.places.items():
            _take(file, temp / place)
        write_json(
            temp / REASONS,
            {
                "scene": rejected.id,
                "source": one_line(source),
                "files": [one_line(path) for path in rejected.places],
                "reasons": list(rejected.reasons),
                "time": _now(),
                "how_to_mend": "Correct what the reasons name, here or in the project file, and run satseg ingest "
                "--retry-quarantine; or put corrected files into the drop folder and ingest. This folder can be "
                "deleted at any time.",
            },
        )


def note_again(folder: Path, reasons: tuple[str, ...]) -> None:
    """Write the reasons of another check into one scene's folder; its files are left alone."""
    entry = read_entry(folder) or {}
    write_json(folder / REASONS, {**entry, "reasons": list(reasons), "checked_again": _now()})


def resolve(folder: Path, scene: str, version: str) -> None:
    """Note in an older quarantine entry of a scene that a version has accepted it; nothing happens without one."""
    entry = read_entry(folder / scene)
    if entry is not None and entry.get("resolved_by") is None:
        write_json(folder / scene / REASONS, {**entry, "resolved_by": version})


def read_entry(folder: Path) -> dict[str, Any] | None:
    """Return the content of reasons.json of one scene's folder, None where there is none that can be read."""
    try:
        entry = json.loads((folder / REASONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) else None


def move_file(source: Path, target: Path) -> None:
    """Move a file, also to another file system; `target` appears whole or not at all and is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        if source.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(source.readlink())
        else:
            with replacing_file(target) as temp:
                shutil.copy2(source, temp)
        source.unlink()


def _take(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if file.stat().st_size <= COPY_UP_TO_BYTES:
            shutil.copyfile(file, target)
            return
    except OSError as error:
        target.unlink(missing_ok=True)
        note = target.with_name(f"{target.name[:100]}.unreadable.txt")
        note.write_text(f"{one_line(file)}: {os.strerror(error.errno or 0)}\n", encoding="utf-8")
        return
    target.symlink_to(file.resolve())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
