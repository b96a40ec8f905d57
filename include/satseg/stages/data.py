"""Ingest and patches."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from satseg.stages.base import Result, Spec


class IngestSpec(Spec):
    """Bring a folder of scenes and labels into the dataset."""

    source: Path | None = Field(None, description="Folder; default: the project's incoming/ folder.")
    retry_quarantine: bool = Field(False, description="Check the quarantined scenes again instead of a folder.")
    force: bool = False


class IngestResult(Result):
    """What became of the files."""

    dataset_version: str | None = Field(
        description="The version that holds the scenes ('v3'); None when there is none yet."
    )
    changed: bool = Field(description="Whether this ingest made that version.")
    scenes: list[str] = Field(description="Scenes accepted by this ingest (also when nothing changed).")
    new_scenes: list[str] = Field([], description="Those that are new or changed in this version.")
    quarantined: dict[str, list[str]] = Field({}, description="Scene or file name to its reasons.")


class RemoveScenesSpec(Spec):
    """Make a dataset version without some scenes."""

    scenes: list[str] = Field(min_length=1, description="Their ids.")
    reason: str = Field("", description="Why; stands in the version's tag.")


class RemoveScenesResult(Result):
    """The version without the scenes."""

    dataset_version: str
    changed: bool = Field(description="Whether this call made that version.")
    removed: list[str] = Field(description="Scenes that this call took out, sorted.")


class ListScenesSpec(Spec):
    """List scenes of the dataset by version or time of ingest."""

    dataset_version: str | None = Field(None, description="Scenes added or changed by this version; default: of all.")
    since: datetime | None = None
    until: datetime | None = None
    not_predicted_by: str | None = Field(None, description="Leave out scenes this model version has predicted.")


class ListScenesResult(Result):
    """Scene ids, sorted."""

    dataset_version: str | None
    scenes: list[str]


class PatchSpec(Spec):
    """Cut a dataset version into a patch set."""

    dataset_version: str | None = Field(None, description="Default: the newest.")
    scenes: list[str] = Field([], description="Extract only these (step 'extract').")
    step: Literal["plan", "extract", "finalise", "all"] = "all"
    threads: int | None = Field(
        None, ge=1, le=64, description="Threads that read and cut; the patches do not depend on it."
    )
    preview: bool = Field(False, description="Also draw the patch set and log the pictures to MLflow.")
    force: bool = False


class PatchResult(Result):
    """A patch set, or after 'plan' what it will be made of."""

    patch_set: str
    dataset_version: str
    scenes: list[str] = Field([], description="Scenes to extract (plan) or extracted.")
    windows: dict[str, int] = Field({}, description="Kept windows by split (train, val, test).")
    changed: bool = True
    preview: list[str] = Field([], description="Contact sheet and map of splits (PNG), when they were asked for.")
    preview_run: str | None = Field(None, description="MLflow run that holds them.")
    preview_url: str | None = Field(None, description="Address of that run; null without an MLflow server.")
