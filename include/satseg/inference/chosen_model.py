"""The model of a prediction: where it comes from is known at once, the network is loaded when first needed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from satseg.errors import BadDataError
from satseg.models.exports import EngineChoice, choose_engine
from satseg.models.interface import DESCRIPTION_FILE, ModelDescription, Segmenter
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class ChosenModel:
    """A model version or run, and its description."""

    label: str  # `v3`, or the beginning of the run id
    version: str | None
    run_id: str
    git_commit: str | None
    folder: Path
    description: ModelDescription
    choice: EngineChoice | None = None  # None: TensorFlow

    @property
    def engine(self) -> str:
        """What a prediction is recorded with."""
        return "tf" if self.choice is None else self.choice.name

    @cached_property
    def segmenter(self) -> Segmenter:
        """The loaded network."""
        return (self.choice or EngineChoice("tf", self.folder)).load()


def choose_model(workspace: Workspace, project: str, reference: str, engine: str = "tf") -> ChosenModel:
    """Find a model by alias, version, run id or models:/ URI, and what runs it.

    Args:
        workspace: whose MLflow knows the model.
        project: whose registered model is meant.
        reference: the model.
        engine: "tf", another engine, or "auto" for the fastest export that passed its parity.

    Raises:
        NotFoundError: there is no such model, or no such export of it; the message lists what there is.
        BadDataError: the model's files are missing or broken.
    """
    from satseg.tracking.models import model_folder, resolve_model  # MLflow: seconds
    from satseg.tracking.runs import get_run

    ref = resolve_model(workspace, project, reference)
    folder = model_folder(workspace, ref)
    file = folder / DESCRIPTION_FILE
    try:
        description = ModelDescription.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BadDataError(f"{file} does not describe a satseg model ({type(error).__name__}). Train again.") from error
    commit = get_run(workspace, ref.run_id).tags.get("satseg.git_commit")
    choice = choose_engine(workspace, description.project, ref.version, folder, engine)
    return ChosenModel(ref.label, ref.version, ref.run_id, commit, folder, description, choice)
