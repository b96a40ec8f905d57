"""SHA-256 of files, remembered by size and time of change so that opening a version does not read every pixel."""

import hashlib
import json
from pathlib import Path

from satseg.storage.atomic import write_json

_CHUNK = 4 * 2**20


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class ChecksumMemory:
    """Checksums by path, believed as long as size, time of change and inode are the same."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            loaded = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            loaded = {}
        self._known: dict[str, list[int | str]] = loaded if isinstance(loaded, dict) else {}

    def of(self, path: Path) -> str | None:
        """Return the file's checksum, None when there is no such file."""
        try:
            status = path.stat()
        except OSError:
            return None
        mark = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._known.get(str(path))
        if known is None or known[:3] != mark:
            known = [*mark, sha256_of(path)]
            self._known[str(path)] = known
            self._changed = True
        return str(known[3])

    def learn(self, path: Path, checksum: str) -> None:
        """Remember a checksum that the caller knows."""
        status = path.stat()
        self._known[str(path)] = [status.st_size, status.st_mtime_ns, status.st_ino, checksum]
        self._changed = True

    def save(self) -> None:
        """Write what was learned; a read-only workspace is no error."""
        if not self._changed:
            return
        self._known = {path: entry for path, entry in self._known.items() if Path(path).exists()}
        try:
            write_json(self._file, self._known)
        except OSError:
            return
        self._changed = False
