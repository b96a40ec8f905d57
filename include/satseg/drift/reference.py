"""The reference of a night: the labelled scenes of the dataset version the champion was trained on."""

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Champion:
    """The model in use and the dataset version it learned from."""

    label: str
    dataset_version: str


def champion_of(workspace: Workspace, project: str) -> Champion | None:
    """Return the project's champion, None before the first promotion.

    Raises:
        BadDataError: the champion's run does not say which dataset version it was trained on.
    """
    if alias_version(workspace, project, "champion") is None:
        return None
    model = resolve_model(workspace, project, "champion")
    version = get_run(workspace, model.run_id).tags.get("satseg.dataset_version")
    if not version:
        raise BadDataError(
            f"Run {model.run_id} of champion {model.label} has no tag satseg.dataset_version: drift has no "
            "reference. Promote a model trained by `satseg train`."
        )
    return Champion(model.label, version)


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
