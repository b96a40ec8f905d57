"""Describe scenes by the features of their patches; one Parquet file per scene and night."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord, open_version
from satseg.drift.features import feature_names, patch_features
from satseg.drift.nights import scene_profiles
from satseg.drift.request_profiles import request_profiles
from satseg.errors import BadDataError, NotFoundError
from satseg.progress import progress_bar, say
from satseg.scenes.raster import SceneReader, open_scene
from satseg.stages import DriftProfileResult, DriftProfileSpec
from satseg.storage.atomic import replacing_file
from satseg.storage.layout import Workspace

SCHEMA_VERSION = 2  # raise it when the same scene gives other columns or values
METADATA_KEY = b"satseg.drift_profile"
PATCHES_PER_READ = 32


@dataclass(frozen=True)
class ProfileKind:
    """What makes two profiles comparable; stored in each file."""

    patch_px: int
    block_patches: int
    bands: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of(cls, project: ProjectConfig) -> "ProfileKind":
        """Return the kind that a project's file asks for."""
        return cls(project.drift.patch_px, project.drift.block_patches, project.bands)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return feature_names(self.bands)

    @property
    def block_px(self) -> int:
        """Side of a block."""
        return self.patch_px * self.block_patches


def run(spec: DriftProfileSpec, workspace: Workspace) -> DriftProfileResult:
    """Profile scenes of the newest dataset version for a night; a scene profiled before is profiled again.

    Raises:
        NotFoundError: a scene is not in the dataset, or no requests were logged that day.
    """
    folder = scene_profiles(workspace, spec.project.name, spec.night)
    known = {record.id: record for record in open_version(workspace, spec.project.name).scenes} if spec.scenes else {}
    wanted = list(dict.fromkeys(spec.scenes))
    if missing := [scene for scene in wanted if scene not in known]:
        raise NotFoundError(
            f"Scene {', '.join(missing)} is not in the newest dataset version of {spec.project.name}; "
            f"it has {', '.join(sorted(known)[:10])}{' …' if len(known) > 10 else ''}."
        )
    kind, patches, warnings = ProfileKind.of(spec.project), 0, []
    for scene in wanted:
        profile = profile_scene(known[scene], kind, spec.project.patches.max_nodata_fraction)
        write_profile(folder / f"{scene}.parquet", profile, kind)
        patches += len(profile)
        if profile.empty:
            warnings.append(f"{scene} has no patch of {kind.patch_px} px with enough data; it cannot be tested.")
    if spec.requests is not None:
        logged = workspace.request_profiles(spec.project.name)
        hours, left_out = request_profiles(logged, spec.requests, kind.patch_px, kind.features)
        for name, profile in hours.items():
            write_profile(folder / f"{name}.parquet", profile, kind)
            patches += len(profile)
        wanted += list(hours)
        if left_out:
            warnings.append(
                f"{left_out} logged patches of {spec.requests} were left out: other features, or another size than "
                f"drift.patch_px ({kind.patch_px})."
            )
    return DriftProfileResult(
        message=f"Night {spec.night}: {patches} patches of {len(wanted)} scenes described by {len(kind.features)} "
        "features each.",
        warnings=warnings,
        night=spec.night,
        scenes=wanted,
        patches=patches,
    )


def profile_scene(record: SceneRecord, kind: ProfileKind, max_nodata_fraction: float) -> pd.DataFrame:
    """Describe all patches of a scene, reading a few patches at a time.

    Returns:
        One row per patch: scene, checksum, taken (date of acquisition, empty where unknown), ingested (time), sensor,
        gsd_m, block ("row_column" of the block), row, col (pixels), nodata_fraction, and the float32 features of the
        kind. Patches with more nodata are left out.

    Raises:
        BadDataError: the scene has another number of bands than the project.
    """
    with open_scene(record.path) as scene:
        if scene.count != len(kind.bands):
            raise BadDataError(
                f"Scene {record.id} has {scene.count} bands; the project names {len(kind.bands)}: "
                f"{', '.join(kind.bands)}. Correct `bands` in the project file or ingest the scene anew."
            )
        rows = list(_described(scene, kind, max_nodata_fraction, record.id))
    columns = ["block", "row", "col", "nodata_fraction"]
    profile = pd.DataFrame([row[:4] for row in rows], columns=columns)
    values = np.asarray([row[4] for row in rows], np.float32).reshape(len(rows), len(kind.features))
    profile[list(kind.features)] = values
    told = _told(record)
    for place, (name, value) in enumerate(told.items()):
        profile.insert(place, name, value)
    texts = dict.fromkeys(("scene", "checksum", "taken", "ingested", "sensor", "block"), "str")
    return profile.astype({**texts, "gsd_m": "float64", "row": "int64", "col": "int64"})


def _told(record: SceneRecord) -> dict[str, Any]:
    """Return what is the same for all patches of a scene."""
    about = record.item.get("properties", {})
    dated = about.get("satseg:datetime_is") == "acquisition"
    return {
        "scene": record.id,
        "checksum": record.checksum,
        "taken": str(about["datetime"])[:10] if dated and about.get("datetime") else "",
        "ingested": record.ingested_at.isoformat(),
        "sensor": str(about.get("platform") or ", ".join(about.get("instruments", [])) or ""),
        "gsd_m": float("nan") if record.gsd_m is None else record.gsd_m,
    }


def _described(
    scene: SceneReader, kind: ProfileKind, max_nodata_fraction: float, name: str
) -> Iterator[tuple[str, int, int, float, NDArray[np.float32]]]:
    px, block_px = kind.patch_px, kind.block_px
    rows, cols = _starts(scene.height, px), _starts(scene.width, px)
    with progress_bar(f"profile of {name}, patches", len(rows) * len(cols)) as advance:
        for row in rows:
            for first in range(0, len(cols), PATCHES_PER_READ):
                group = cols[first : first + PATCHES_PER_READ]
                window = (row, group[0], px, group[-1] + px - group[0])
                pixels, valid = scene.read(*window, pad="none"), scene.valid_mask(*window)
                valid &= np.isfinite(pixels).all(axis=2)
                for col in group:
                    cut = slice(col - group[0], col - group[0] + px)
                    nodata = 1.0 - float(valid[:, cut].mean())
                    if nodata < 1.0 and nodata <= max_nodata_fraction:
                        block = f"{row // block_px}_{col // block_px}"
                        yield block, row, col, nodata, patch_features(pixels[:, cut], valid[:, cut], kind.bands)
                advance(len(group))


def _starts(size: int, patch_px: int) -> list[int]:
    """Return the first pixels of patches side by side, and one at the far edge when half a patch would be lost.

    That last one overlaps only its neighbour in the same block, never a patch of another block.
    """
    starts = list(range(0, size - patch_px + 1, patch_px))
    if starts and size - (starts[-1] + patch_px) >= patch_px / 2:
        starts.append(size - patch_px)
    return starts


def write_profile(path: Path, profile: pd.DataFrame, kind: ProfileKind) -> None:
    """Write a profile atomically with its kind in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(profile, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), METADATA_KEY: json.dumps(asdict(kind)).encode()}
    with replacing_file(path) as temp:
        pq.write_table(table.replace_schema_metadata(metadata), temp, compression="zstd")


def read_profile(path: Path, kind: ProfileKind) -> pd.DataFrame | None:
    """Read a profile; None when it is of another kind (other patch size, bands or schema version).

    Raises:
        BadDataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        stored: dict[str, Any] = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise BadDataError(f"Profile {path} cannot be read ({error}). Remove it and profile again.") from error
    if stored != json.loads(json.dumps(asdict(kind))):
        say(f"{path.name} is not used: {_difference(stored, kind)}. It is made anew where its scene is there.")
        return None
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _difference(stored: dict[str, Any], kind: ProfileKind) -> str:
    wanted = json.loads(json.dumps(asdict(kind)))
    if stored.get("schema_version") != wanted["schema_version"]:
        return f"it has schema {stored.get('schema_version', 'unknown')}, this satseg writes {wanted['schema_version']}"
    parts = [f"{key} is {stored.get(key)}, now {value}" for key, value in wanted.items() if stored.get(key) != value]
    return f"it was made with other settings ({'; '.join(parts)})"
