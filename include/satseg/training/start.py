"""What a training starts from: fresh weights, or a model that exists."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError, NotFoundError
from satseg.models.interface import MODEL_FILE, ModelDescription
from satseg.patches.patchset import PatchSet
from satseg.storage.layout import Workspace
from satseg.tracking.models import model_folder, resolve_model


@dataclass(frozen=True)
class StartingModel:
    """The model named by --init-from.

    Attributes:
        origin: Run id, or `file:` and the SHA-256 of model.keras.
        label: Name for people.
        folder: Holds model.keras and model.json.
        description: Content of model.json.
    """

    origin: str
    label: str
    folder: Path
    description: ModelDescription


def effective_training(project: ProjectConfig, start: StartingModel | None) -> TrainingConfig:
    """Return the training section; starting from a model, the network is its and `retraining` says how long."""
    if start is None:
        return project.training
    return project.training.model_copy(
        update={
            "architecture": start.description.architecture,
            "backbone": start.description.backbone,
            "epochs": project.retraining.epochs,
            "learning_rate": project.retraining.learning_rate,
        }
    )


def starting_model(
    workspace: Workspace, project: ProjectConfig, patch_set: PatchSet, reference: str, same_network: bool = False
) -> StartingModel:
    """Find the model and check that it can go on learning from this patch set.

    Args:
        workspace: holds runs and models.
        project: says what model is wanted.
        patch_set: to learn from.
        reference: alias, version, run id, models:/ URI, or a file model.keras (or its folder) with model.json beside.
        same_network: refuse a model of another architecture or backbone than the project's.

    Raises:
        NotFoundError: there is no such model.
        ConfigurationError: its bands, pixel type or classes are others.
        BadDataError: the file is damaged.
    """
    found = _from_file(reference) or _from_registry(workspace, project, reference)
    description = found.description
    network = {
        "training.architecture": (description.architecture, project.training.architecture),
        "training.backbone": (description.backbone, project.training.backbone),
    }
    pairs = (network if same_network else {}) | {
        "classes": (list(description.classes), list(patch_set.classes)),
        "bands": (list(description.bands), list(patch_set.bands)),
        "pixel type": (description.dtype, patch_set.dtype),
    }
    wrong = [f"{what} is {theirs} there and {ours} here" for what, (theirs, ours) in pairs.items() if theirs != ours]
    if wrong:
        raise ConfigurationError(
            f"Cannot start from model '{reference}' ({found.label}): {'; '.join(wrong)}. "
            "Set the same values (--set KEY=VALUE), or train without --init-from."
        )
    return found


def _from_registry(workspace: Workspace, project: ProjectConfig, reference: str) -> StartingModel:
    from satseg.models.keras.load import read_description

    ref = resolve_model(workspace, project.name, reference)
    folder = model_folder(workspace, ref)
    return StartingModel(ref.run_id, ref.label, folder, read_description(folder))


def _from_file(reference: str) -> StartingModel | None:
    from satseg.models.keras.load import read_description

    if reference.startswith("models:/") or not (os.sep in reference or reference.endswith(".keras")):
        return None
    path = Path(reference)
    file = path / MODEL_FILE if path.is_dir() else path
    if file.name != MODEL_FILE or not file.is_file():
        raise NotFoundError(
            f"--init-from {reference}: no {MODEL_FILE} there. Give a folder with {MODEL_FILE} and model.json, as "
            "MLflow keeps them under model/artifacts/, or champion, a version, a run id or a models:/ URI."
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return StartingModel(f"file:{digest}", f"file {file}", file.parent, read_description(file.parent))
