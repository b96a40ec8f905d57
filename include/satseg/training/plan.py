"""All that decides what a training gives, and how MLflow is told."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satseg.config.project import content_id
from satseg.config.settings import settings
from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError
from satseg.models.backbones import check_backbone
from satseg.models.interface import ModelDescription
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.stages import TrainSpec
from satseg.storage.layout import Workspace
from satseg.tracking.code_version import code_version
from satseg.training.replay import new_scenes
from satseg.training.start import StartingModel, effective_training, starting_model

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Plan:
    """A training before it begins."""

    spec: TrainSpec
    patch_set: PatchSet
    config: TrainingConfig
    start: StartingModel | None
    new_scenes: frozenset[str] | None = None  # to the starting model; None: nobody can tell

    @property
    def new_share(self) -> float | None:
        """Part of the draws from scenes new to the starting model; None draws all windows as the manifest says."""
        return self.spec.project.retraining.new_share if self.new_scenes else None

    @property
    def freeze_encoder_epochs(self) -> int:
        """Epochs in which only the decoder learns; a fresh encoder is never frozen."""
        return self.spec.project.retraining.freeze_encoder_epochs if self.start else 0

    @property
    def run_key(self) -> str:
        """Content id of the training; each trial of a search is a training of its own."""
        weights = self.config.encoder_weights
        file = Path(weights) if weights else None
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else None
        parts = [
            SCHEMA_VERSION,
            self.patch_set.id,
            self.config,
            list(self.patch_set.classes),
            self.start.origin if self.start else None,
            digest,
            self.freeze_encoder_epochs,
            self.spec.trial,
        ]
        if self.new_share is not None:  # added last, so that ids of other trainings stay
            parts += [self.new_share, sorted(self.new_scenes or ())]
        return content_id(*parts)

    @property
    def name(self) -> str:
        """Name of the MLflow run."""
        model = f"{self.config.architecture}-{self.config.backbone}"
        return f"{model}-{self.spec.trial.replace('/', '-')}" if self.spec.trial else f"{model}-{self.run_key[:6]}"

    def description(self) -> ModelDescription:
        """Describe the model to be; one that goes on from another keeps that one's normalisation."""
        patch_set = self.patch_set
        given = self.start.description if self.start else patch_set.statistics
        return ModelDescription(
            project=self.spec.project.name,
            architecture=self.config.architecture,
            backbone=self.config.backbone,
            bands=patch_set.bands,
            dtype=patch_set.dtype,
            classes=patch_set.classes,
            patch_px=patch_set.size_px,
            gsd_m=patch_set.gsd_m,
            mean=given.mean,
            std=tuple(deviation or 1.0 for deviation in given.std),  # a constant band has no spread to divide by
            dataset_version=patch_set.dataset_version,
            patch_set=patch_set.id,
        )

    def params(self) -> dict[str, Any]:
        """Return what MLflow shows as parameters."""
        patch_set = self.patch_set
        return self.config.model_dump(mode="json") | {
            "patch_px": patch_set.size_px,
            "bands": list(patch_set.bands),
            "classes": list(patch_set.classes),
            "dataset_version": patch_set.dataset_version,
            "patch_set": patch_set.id,
            "init_from": self.start.origin if self.start else None,
            "freeze_encoder_epochs": self.freeze_encoder_epochs,
            "new_share": self.new_share,
            "new_scenes": len(self.new_scenes) if self.new_scenes is not None else None,
        }

    def tags(self) -> dict[str, str]:
        """Return the tags that lineage follows, and for a trial the one by which MLflow shows it below its search."""
        code = code_version()
        tags = {
            "satseg.stage": "train",
            "satseg.project": self.spec.project.name,
            "satseg.dataset_version": self.patch_set.dataset_version,
            "satseg.patch_set": self.patch_set.id,
            "satseg.git_commit": code.commit,
            "satseg.git_dirty": str(code.dirty).lower(),
            "satseg.run_key": self.run_key,
            "satseg.init_from": self.start.origin if self.start else "",
        }
        if (dag_run := settings().dag_run) is not None:
            tags["satseg.dag_run"] = dag_run
        if self.spec.trial and self.spec.parent_run:
            tags |= {"mlflow.parentRunId": self.spec.parent_run, "satseg.trial": self.spec.trial}
        return tags


def make_plan(spec: TrainSpec, workspace: Workspace) -> Plan:
    """Find what a training needs, and refuse what cannot work before TensorFlow is loaded.

    Raises:
        NotFoundError: no such patch set or starting model.
        ConfigurationError: unknown backbone, a patch set of other bands or classes, a starting model that does not fit.
    """
    check_backbone(spec.project.training.backbone)
    patch_set = open_patch_set(workspace, spec.project.name, spec.patch_set)
    _check_content(spec, patch_set)
    start, new = None, None
    if spec.init_from:
        start = starting_model(workspace, spec.project, patch_set, spec.init_from, spec.same_network)
        new = new_scenes(workspace, patch_set, start.description)
    return Plan(spec, patch_set, effective_training(spec.project, start), start, new)


def _check_content(spec: TrainSpec, patch_set: PatchSet) -> None:
    for what, ours, theirs in (
        ("bands", spec.project.bands, patch_set.bands),
        ("classes", spec.project.classes, patch_set.classes),
    ):
        if tuple(ours) != tuple(theirs):
            raise ConfigurationError(
                f"Patch set {patch_set.id} has the {what} {', '.join(theirs)}, but project '{spec.project.name}' has "
                f"{', '.join(ours)}. Run `satseg patch` for a patch set of the project as it is, or correct `{what}`."
            )
