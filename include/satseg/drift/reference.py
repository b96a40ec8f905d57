"""The reference of a night: the labelled scenes of the dataset version the champion was trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord, open_version
from satseg.drift.nights import PROFILE_FILE
from satseg.drift.profile import ProfileKind, profile_scene, read_profile, write_profile
from satseg.errors import BadDataError
from satseg.progress import say
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version, resolve_model
from satseg.tracking.runs import get_run

YEAR_DAYS = 365


@dataclass(frozen=True)
class Champion:
    """The model in use and the dataset version it learned from."""

    label: str
    dataset_version: str
    patch_set: str | None = None
    run_id: str | None = None


def champion_of(workspace: Workspace, project: str) -> Champion | None:
    """Return the project's champion, None before the first promotion.

    Raises:
        BadDataError: the champion's run does not say which dataset version it was trained on.
    """
    if alias_version(workspace, project, "champion") is None:
        return None
    model = resolve_model(workspace, project, "champion")
    tags = get_run(workspace, model.run_id).tags
    version = tags.get("satseg.dataset_version")
    if not version:
        raise BadDataError(
            f"Run {model.run_id} of champion {model.label} has no tag satseg.dataset_version: drift has no "
            "reference. Promote a model trained by `satseg train`."
        )
    return Champion(model.label, version, tags.get("satseg.patch_set"), model.run_id)


def reference_profile(workspace: Workspace, project: ProjectConfig, dataset_version: str) -> pd.DataFrame:
    """Return the profile of the labelled scenes of a dataset version, made on first use and kept.

    Scenes are kept one by one while it is made, so that a killed process loses one scene's work at most.
    """
    folder, kind = workspace.drift_reference(project.name, dataset_version), ProfileKind.of(project)
    merged = folder / PROFILE_FILE
    if (known := _stored(merged, kind)) is not None:
        return known
    with exclusive(workspace.lock(f"drift-reference-{project.name}-{dataset_version}"), f"Reference {dataset_version}"):
        if (known := _stored(merged, kind)) is not None:
            return known
        remove_stale_temps(folder)
        remove_stale_temps(folder / "scenes")
        records = [
            record for record in open_version(workspace, project.name, dataset_version).scenes if record.labelled
        ]
        say(f"Profiling the reference: {len(records)} labelled scenes of {dataset_version}.")
        parts = [_scene_part(folder / "scenes", record, kind, project) for record in records]
        filled = [part for part in parts if not part.empty]
        profile = (
            pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=["scene", "checksum", "block"])
        )
        write_profile(merged, profile, kind)
        return profile


def records_of(workspace: Workspace, project: str, version: str | None) -> dict[str, SceneRecord]:
    """Return the scenes of a dataset version, None for the newest, by the checksum of their pixels."""
    return {record.checksum: record for record in open_version(workspace, project, version).scenes}


def in_season(reference: pd.DataFrame, night: str, days: int | None) -> tuple[pd.DataFrame, str | None]:
    """Return the reference's scenes taken in the season of a night, and words when that left some out.

    Args:
        reference: Profile rows with a column `taken` (ISO date, empty where the source does not say).
        night: YYYY-MM-DD.
        days: Largest distance in days of the year, across New Year too; None takes all.
    """
    if days is None or reference.empty:
        return reference, None
    taken = pd.to_datetime(reference["taken"].replace("", None), format="%Y-%m-%d", errors="coerce")
    apart = (taken.dt.dayofyear - pd.Timestamp(night).dayofyear).abs()
    kept = reference[np.minimum(apart, YEAR_DAYS - apart) <= days]
    everything, left, undated = (
        frame["scene"].nunique() for frame in (reference, kept, reference[reference["taken"] == ""])
    )
    words = f"Season: {left} of {everything} reference scenes were taken within {days} days of the year of {night}"
    return kept, f"{words}{f'; {undated} have no date' if undated else ''}."


def _stored(path: Path, kind: ProfileKind) -> pd.DataFrame | None:
    return read_profile(path, kind) if path.is_file() else None


def _scene_part(folder: Path, record: SceneRecord, kind: ProfileKind, project: ProjectConfig) -> pd.DataFrame:
    path = folder / f"{record.id}.parquet"
    known = _stored(path, kind)
    if known is not None and set(known["checksum"]) == {record.checksum}:
        return known
    profile = profile_scene(record, kind, project.patches.max_nodata_fraction)
    write_profile(path, profile, kind)
    return profile
