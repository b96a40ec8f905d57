"""A finished patch set: what it is made of and how to read it. Needs NumPy and pandas only."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.errors import BadDataError, NotFoundError
from satseg.storage.atomic import TEMP_PREFIX
from satseg.storage.layout import Workspace

if TYPE_CHECKING:
    import pandas as pd

PATCHSET_FILE = "patchset.json"
MANIFEST_FILE = "manifest.parquet"
STATISTICS_FILE = "statistics.json"
LATEST_FILE = "latest.json"
SPLITS = ("train", "val", "test")
M = TypeVar("M", bound=BaseModel)


class Statistics(BaseModel):
    """Numbers of the train split alone; bands in the scenes' order, classes by id (0 is background)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bands: tuple[str, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_fractions: tuple[float, ...]
    class_weights: tuple[float, ...]
    pixels: int


class PatchSetDescription(BaseModel):
    """The content of patchset.json, the file that is written last and makes a patch set complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    id: str
    project: str
    dataset_version: str
    created: datetime
    size_px: int
    channels: int
    dtype: str
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    gsd_m: float | None
    parameters: dict[str, Any]
    split_plan: str
    scenes: dict[str, dict[str, str]]
    windows: dict[str, int]
    positive_fractions: dict[str, float]
    shards: list[int]
    warnings: list[str] = []


def image_file(shard: int) -> str:
    """Return the name of a shard's image file."""
    return f"images-{shard:05d}.npy"


def mask_file(shard: int) -> str:
    """Return the name of a shard's mask file."""
    return f"masks-{shard:05d}.npy"


@dataclass(frozen=True)
class PatchSet:
    """A complete patch set on disk; each shard holds windows of one split only."""

    id: str
    project: str
    folder: Path
    dataset_version: str
    size_px: int
    channels: int
    dtype: str
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    gsd_m: float | None
    statistics: Statistics
    description: PatchSetDescription

    def manifest(self) -> "pd.DataFrame":
        """Return one row per window, also of those not kept, with all that decided its fate."""
        import pandas as pd

        return pd.read_parquet(self.folder / MANIFEST_FILE)

    def windows(self, split: str) -> "pd.DataFrame":
        """Return the kept windows of a split (train, val or test) in (shard, index) order."""
        table = self.manifest()
        rows = table[table["kept"] & (table["split"] == split)]
        return rows.sort_values(["shard", "index"]).reset_index(drop=True)

    def images(self, shard: int) -> NDArray[Any]:
        """Return a shard's pixels as a read-only memory map, (N, H, W, C) in the scenes' dtype."""
        images: NDArray[Any] = np.load(self.folder / image_file(shard), mmap_mode="r")
        return images

    def masks(self, shard: int) -> NDArray[np.uint8]:
        """Return a shard's class ids as a read-only memory map, (N, H, W) uint8."""
        masks: NDArray[np.uint8] = np.load(self.folder / mask_file(shard), mmap_mode="r")
        return masks

    def shard_files(self) -> list[tuple[Path, Path]]:
        """Return the (images, masks) files of all shards, by shard number."""
        shards = range(len(self.description.shards))
        return [(self.folder / image_file(shard), self.folder / mask_file(shard)) for shard in shards]


def header_bytes(path: Path) -> int:
    """Return the length of a .npy file's header: where the first record starts (for FixedLengthRecordDataset)."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        reader(file)
        return file.tell()


def list_patch_sets(workspace: Workspace, project_name: str) -> list[PatchSetDescription]:
    """Return the complete patch sets of a project, oldest first."""
    paths = sorted(workspace.patches(project_name).glob(f"*/{PATCHSET_FILE}"))
    found = []
    for path in paths:
        try:
            if not path.parent.name.startswith(TEMP_PREFIX):
                found.append(_describe(path))
        except BadDataError:
            if path.exists():  # else it was removed meanwhile
                raise
    return sorted(found, key=lambda description: (description.created, description.id))


def is_complete(workspace: Workspace, project_name: str, patch_set: str) -> bool:
    """Whether a patch set is finished."""
    return (workspace.patch_set(project_name, patch_set) / PATCHSET_FILE).is_file()


def open_patch_set(workspace: Workspace, project_name: str, patch_set: str | None = None) -> PatchSet:
    """Open a patch set by id; None means the one `satseg patch` made or named last.

    Raises:
        NotFoundError: there is no such complete patch set; the message lists those there are.
        BadDataError: its files are damaged.
    """
    wanted = patch_set or latest_patch_set(workspace, project_name)
    if wanted is None or not is_complete(workspace, project_name, wanted):
        known = ", ".join(description.id for description in list_patch_sets(workspace, project_name)) or "none"
        what = f"No patch set '{wanted}'" if wanted else "No patch set"
        raise NotFoundError(
            f"{what} of project '{project_name}' in {workspace.patches(project_name)} (complete ones: {known}). "
            f"Make one with: satseg patch -p {project_name}"
        )
    folder = workspace.patch_set(project_name, wanted)
    description = _describe(folder / PATCHSET_FILE)
    return PatchSet(
        id=description.id,
        project=description.project,
        folder=folder,
        dataset_version=description.dataset_version,
        size_px=description.size_px,
        channels=description.channels,
        dtype=description.dtype,
        classes=description.classes,
        bands=description.bands,
        gsd_m=description.gsd_m,
        statistics=_read(folder / STATISTICS_FILE, Statistics),
        description=description,
    )


def first_problem(error: Exception) -> str:
    """Return in one line why a file could not be read."""
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


def latest_patch_set(workspace: Workspace, project_name: str) -> str | None:
    """Return the id of the patch set that is meant when none is named, None when there is no complete one."""
    # `satseg patch` may name a set again that is not the youngest (a parameter changed and changed back)
    try:
        pointer = json.loads((workspace.patches(project_name) / LATEST_FILE).read_text(encoding="utf-8"))
        named = str(pointer["patch_set"])
    except (OSError, ValueError, KeyError, TypeError):
        named = ""
    if named and is_complete(workspace, project_name, named):
        return named
    sets = list_patch_sets(workspace, project_name)
    return sets[-1].id if sets else None


def _describe(path: Path) -> PatchSetDescription:
    return _read(path, PatchSetDescription)


def _read(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise BadDataError(
            f"{path} is damaged ({first_problem(error)}). Remove the folder {path.parent} and run satseg patch again."
        ) from error
