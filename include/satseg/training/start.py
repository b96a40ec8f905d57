"""What a training starts from: fresh weights, or a model that exists."""

from dataclasses import dataclass
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError
from satseg.models.interface import ModelDescription
from satseg.patches.patchset import PatchSet
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, model_folder, resolve_model


@dataclass(frozen=True)
class StartingModel:
    """The model named by --init-from."""

    ref: ModelRef
    folder: Path
    description: ModelDescription


def effective_training(project: ProjectConfig, from_model: bool) -> TrainingConfig:
    """Return the training section; starting from a model, `retraining` replaces epochs and learning rate."""
    if not from_model:
        return project.training
    return project.training.model_copy(
        update={"epochs": project.retraining.epochs, "learning_rate": project.retraining.learning_rate}
    )


def starting_model(workspace: Workspace, project: ProjectConfig, patch_set: PatchSet, reference: str) -> StartingModel:
    """Find the model and check that it can go on learning from this patch set.

    Raises:
        NotFoundError: there is no such model.
        ConfigurationError: its architecture, bands, pixel type or classes are others.
    """
    from satseg.models.keras.load import read_description

    ref = resolve_model(workspace, project.name, reference)
    folder = model_folder(workspace, ref)
    description = read_description(folder)
    pairs = {
        "training.architecture": (description.architecture, project.training.architecture),
        "training.backbone": (description.backbone, project.training.backbone),
        "classes": (list(description.classes), list(patch_set.classes)),
        "bands": (list(description.bands), list(patch_set.bands)),
        "pixel type": (description.dtype, patch_set.dtype),
    }
    wrong = [f"{what} is {theirs} there and {ours} here" for what, (theirs, ours) in pairs.items() if theirs != ours]
    if wrong:
        raise ConfigurationError(
            f"Cannot start from model '{reference}' ({ref.label}): {'; '.join(wrong)}. "
            "Set the same values (--set KEY=VALUE), or train without --init-from."
        )
    return StartingModel(ref, folder, description)
