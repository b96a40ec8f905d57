"""The place for what could not be used: one folder per scene with its files and reasons.json."""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.storage.atomic import replacing_directory, replacing_file, write_json

COPY_UP_TO_BYTES = 256 * 2**20  # larger files of a foreign folder are linked


@dataclass(frozen=True)
class Rejected:
    """A scene (or label file) that cannot be used, its files and why."""

    id: str
    name: str
    files: tuple[Path, ...]
    reasons: tuple[str, ...]


def quarantine(folder: Path, rejected: Rejected, source: Path) -> None:
    """Write `folder`/<scene>/ anew: copies of the files (links to large ones) and reasons.json.

    The files stay where they are; moving them out of incoming/ comes after the version is made.
    """
    with replacing_directory(folder / rejected.id) as temp:
        for file in rejected.files:
            _take(file, temp / file.name)
        write_json(
            temp / "reasons.json",
            {
                "scene": rejected.id,
                "source": str(source),
                "files": [str(path) for path in rejected.files],
                "reasons": list(rejected.reasons),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "how_to_mend": "Correct what the reasons name, put the files into the drop folder again and ingest. "
                "This folder can be deleted at any time.",
            },
        )


def resolve(folder: Path, scene: str, version: str) -> None:
    """Note in an older quarantine entry of a scene that a version has accepted it; nothing happens without one."""
    file = folder / scene / "reasons.json"
    try:
        entry: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if entry.get("resolved_by") is None:
        write_json(file, {**entry, "resolved_by": version})


def move_file(source: Path, target: Path) -> None:
    """Move a file, also to another file system; `target` appears whole or not at all and is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        with replacing_file(target) as temp:
            shutil.copy2(source, temp)
        source.unlink()


def _take(file: Path, target: Path) -> None:
    try:
        if file.stat().st_size <= COPY_UP_TO_BYTES:
            shutil.copyfile(file, target)
            return
    except OSError as error:
        target.with_name(target.name + ".unreadable.txt").write_text(f"{file}: {os.strerror(error.errno or 0)}\n")
        return
    target.symlink_to(file.resolve())
