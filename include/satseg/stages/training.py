"""Training and search."""

from typing import Any, Literal

from pydantic import Field

from satseg.stages.base import Result, Spec


class TrainSpec(Spec):
    """One training run."""

    patch_set: str | None = Field(None, description="Default: the newest patch set.")
    init_from: str | None = Field(
        None, description="'champion', version, run id, models:/ URI, or a folder with model.keras to start from."
    )
    same_network: bool = Field(
        False, description="Refuse to start from a model of another architecture or backbone than the project's."
    )
    trial: str | None = Field(None, description="Study and number of the trial this run is; None outside a search.")
    parent_run: str | None = Field(None, description="MLflow run of the search.")
    force: bool = False


class TrainResult(Result):
    """A finished run."""

    run_id: str
    patch_set: str
    epochs: int
    best_epoch: int
    val_iou: float
    resumed: bool = False
    pruned: bool = Field(False, description="Whether the search stopped it early; such a run has no model.")


class TuneSpec(Spec):
    """A hyper-parameter search, or one step of it for an orchestrator that runs trials side by side."""

    patch_set: str | None = Field(None, description="Default: the newest patch set.")
    init_from: str | None = Field(None, description="Model every trial starts from; see TrainSpec.")
    trials: int | None = Field(None, ge=1, description="How many trials; default: the project's search.trials.")
    step: Literal["plan", "trial", "best", "all"] = "all"
    study: str | None = Field(None, description="Id that 'plan' gave (steps 'trial' and 'best').")
    trial: int | None = Field(None, ge=0, description="Which trial to run (step 'trial').")


class TuneResult(Result):
    """A search: planned, one trial of it, or done with its best trial's run."""

    study: str
    patch_set: str
    parent_run: str
    trials: int = Field(description="Trials of the search.")
    trial: int | None = Field(None, description="The trial that was run, or the best one.")
    state: Literal["planned", "complete", "pruned", "failed"] = "planned"
    run_id: str | None = Field(None, description="MLflow run of that trial.")
    val_iou: float | None = None
    parameters: dict[str, Any] = Field({}, description="What that trial tried.")
    states: dict[str, int] = Field({}, description="How many trials ended how (step 'best').")
