"""Compare files with the checksums that were recorded of them, as long as that is cheap."""

from pathlib import Path

from satseg.datasets.catalog import memory_of
from satseg.lineage.node import Check, State
from satseg.storage.layout import Workspace

BUDGET_BYTES = 2 * 2**30
SHA256_MULTIHASH = "1220"


class Verifier:
    """Checks files until a budget of bytes is spent; later ones are "not checked"."""

    def __init__(self, workspace: Workspace, project: str, budget_bytes: int = BUDGET_BYTES) -> None:
        self._memory = memory_of(workspace, project)
        self._left = budget_bytes

    def check(self, what: str, path: Path, checksum: str | None) -> Check:
        """Return whether the file has this SHA-256, which may be written as a STAC multihash."""
        return Check(what=what, state=self._state(path, checksum))

    def _state(self, path: Path, checksum: str | None) -> State:
        try:
            size = path.stat().st_size
        except OSError:
            return "missing"
        if checksum is None or size > self._left:
            return "not checked"
        self._left -= size
        wanted = checksum.removeprefix(SHA256_MULTIHASH) if len(checksum) > 64 else checksum
        return "ok" if self._memory.of(path) == wanted else "changed"

    def save(self) -> None:
        """Remember the checksums that were computed."""
        self._memory.save()
