"""The stages as data: names, what each takes (spec), what it gives (result), and which want a GPU."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig


class Spec(BaseModel):
    """Base of all specs: everything a stage needs to know besides the workspace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: ProjectConfig


class Result(BaseModel):
    """Base of all results; the stage operator pushes it to XCom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: str = Field(description="One line for people.")
    warnings: list[str] = []


# --- data -----------------------------------------------------------------------------------------------------


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


# --- models ---------------------------------------------------------------------------------------------------


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


class EvaluateSpec(Spec):
    """Measure a model on the test split of a patch set."""

    model: str = Field(description="MLflow run id, version number or alias.")
    patch_set: str | None = Field(None, description="Default: the one the model was trained on.")
    force: bool = False


class Scores(BaseModel):
    """Pixel scores of one class or averaged over the classes."""

    iou: float
    dice: float
    precision: float
    recall: float
    iou_all_positive: float = Field(description="IoU of the map that is positive everywhere.")
    pixels: int
    labelled_pixels: int = Field(0, description="Pixels labelled as the class; of a mean: as any class.")


class EvaluateResult(Result):
    """Scores on the held-out blocks."""

    run_id: str
    patch_set: str
    iou: float
    dice: float
    precision: float
    recall: float
    iou_all_positive: float
    per_class: dict[str, Scores] = {}
    per_scene: dict[str, Scores] = {}
    reference: Scores | None = Field(None, description="The same on the fixed reference test blocks alone.")
    new: Scores | None = Field(None, description="The same on test blocks that came later.")
    windows: int = Field(0, description="Test windows measured.")
    blocks: int = Field(0, description="Spatial blocks they lie in.")
    threshold: float | None = Field(None, description="Probability threshold of one-class maps.")
    pictures: list[str] = []


class RegisterSpec(Spec):
    """Make a run a version of the project's registered model, as challenger."""

    run: str


class Gate(BaseModel):
    """One rule of a promotion."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    evidence: str


class RegistryResult(Result):
    """A version and what was decided about it."""

    version: str
    alias: str | None
    decision: Literal["registered", "promotable", "promoted", "refused", "rolled_back", "unchanged"]
    previous: str | None = Field(None, description="Champion before the decision.")
    gates: list[Gate] = []


class PromoteSpec(Spec):
    """Decide whether a version becomes champion."""

    version: str = Field(description="Version number or alias.")
    check: bool = Field(False, description="Only evaluate the gates.")
    approved_by: str | None = None
    reason: str = ""


class RollbackSpec(Spec):
    """Make the previous champion champion again."""

    reason: str = ""


# --- maps -----------------------------------------------------------------------------------------------------


class PredictSpec(Spec):
    """Predict whole scenes."""

    scenes: list[str] = Field(min_length=1, description="Scene ids of the dataset, or raster files.")
    out: Path | None = Field(None, description="Default: the workspace's predictions folder.")
    model: str = "champion"
    force: bool = False


class Prediction(BaseModel):
    """Files of one predicted scene."""

    scene: str
    probability: str
    classes: str
    polygons: str
    preview: str
    item: str
    objects: int
    area_m2: float | None


class PredictResult(Result):
    """All predicted scenes."""

    model_version: str | None
    run_id: str
    predictions: list[Prediction]


# --- drift ----------------------------------------------------------------------------------------------------


class DriftProfileSpec(Spec):
    """Compute the feature profile of scenes for a night."""

    night: str
    scenes: list[str] = Field(min_length=1)


class DriftProfileResult(Result):
    """Profiled scenes."""

    night: str
    scenes: list[str]
    patches: int


class DriftTestSpec(Spec):
    """Compare a night with the champion's training data."""

    night: str
    scenes: list[str] | None = Field(None, description="Default: all profiles of the night.")
    may_be_empty: bool = Field(False, description="A night without any profile is a night without new scenes.")
    force: bool = Field(False, description="Replace a result about other scenes.")


class FeatureDrift(BaseModel):
    """The test of one feature."""

    feature: str
    distance: float = Field(description="Two-sample Kolmogorov-Smirnov distance.")
    p_value: float
    p_adjusted: float
    shift: float = Field(description="Difference of medians in units of the reference's interquartile range.")
    drifted: bool
    change: str = Field("", description="What moved, in words.")


class DriftResult(Result):
    """The decision of one night."""

    night: str
    verdict: Literal["drift", "no drift", "not enough reference", "no new scenes"]
    drifted: bool
    p_value: float | None = Field(description="Smallest adjusted p-value.")
    features: list[FeatureDrift] = []
    scenes: list[str] = []
    reference_version: str | None = None
    report: str | None = Field(None, description="Path of report.html.")
    champion: str | None = Field(None, description="Model version whose training data was the reference.")
    permuted: Literal["scenes", "blocks"] | None = Field(None, description="Units dealt anew for the null.")
    correction: Literal["Holm", "step-down maxT"] | None = Field(None, description="Correction over the features.")
    false_alarm_bound: float | None = Field(
        None, description="Chance of an alarm in a quiet night, also when scenes differ from each other by nature."
    )
    reference_scenes: int = 0
    patches: dict[str, int] = Field({}, description="Patches compared, of 'reference' and 'night'.")
    kept: bool = Field(False, description="The result is an earlier one, about other scenes than asked for.")


class DriftReportSpec(Spec):
    """Draw the report of a tested night."""

    night: str


class DriftStatusSpec(Spec):
    """Ask whether the latest nights confirm drift and no episode or cool-down forbids a retraining."""

    night: str


class DriftStatusResult(Result):
    """What the DriftSensor reads."""

    night: str
    confirmed: bool
    trigger: bool
    reason: str
    nights: dict[str, bool] = Field({}, description="The nights looked at and whether they drifted.")


class DriftEpisodeSpec(Spec):
    """Open or close a drift episode."""

    night: str | None = None
    action: Literal["open", "close"]
    reason: str = ""


class DriftEpisodeResult(Result):
    """The episode after the action."""

    night: str | None
    state: Literal["open", "closed", "none"]


# --- lineage --------------------------------------------------------------------------------------------------


class LineageSpec(Spec):
    """The chain behind something."""

    target: str = Field(
        description="Prediction file or folder, model version or alias, run id, patch set id, dataset version."
    )


class LineageResult(Result):
    """The chain, from the target back to the sources."""

    chain: list[dict[str, Any]]


class Stage(NamedTuple):
    """One subcommand of `satseg` as the orchestrator sees it."""

    command: tuple[str, ...]
    spec: type[Spec]
    result: type[Result]
    gpu: bool
    description: str
    timeout_minutes: int = 60


STAGES: dict[str, Stage] = {
    "ingest": Stage(("ingest",), IngestSpec, IngestResult, False, "Bring scenes and labels into the dataset.", 720),
    "scenes": Stage(("datasets", "scenes"), ListScenesSpec, ListScenesResult, False, "List scenes by version or time."),
    "patch": Stage(("patch",), PatchSpec, PatchResult, False, "Cut scenes into a patch set.", 720),
    "train": Stage(("train",), TrainSpec, TrainResult, True, "Train a model.", 2880),
    "tune": Stage(("tune",), TuneSpec, TuneResult, True, "Search hyper-parameters; a trial is a training.", 2880),
    "evaluate": Stage(("evaluate",), EvaluateSpec, EvaluateResult, True, "Measure a model on held-out blocks.", 240),
    "register": Stage(("register",), RegisterSpec, RegistryResult, False, "Register a run as challenger."),
    "promote": Stage(
        ("promote",), PromoteSpec, RegistryResult, True, "Decide whether a version becomes champion.", 240
    ),
    "rollback": Stage(("rollback",), RollbackSpec, RegistryResult, False, "Return to the previous champion."),
    "predict": Stage(("predict",), PredictSpec, PredictResult, True, "Predict whole scenes.", 720),
    "drift-profile": Stage(("drift", "profile"), DriftProfileSpec, DriftProfileResult, False, "Profile scenes.", 240),
    "drift-test": Stage(("drift", "test"), DriftTestSpec, DriftResult, False, "Compare a night with the reference."),
    "drift-report": Stage(("drift", "report"), DriftReportSpec, DriftResult, False, "Draw a night's report."),
    "drift-status": Stage(("drift", "status"), DriftStatusSpec, DriftStatusResult, False, "Is drift confirmed?"),
    "drift-episode": Stage(
        ("drift", "episode"), DriftEpisodeSpec, DriftEpisodeResult, False, "Open or close an episode."
    ),
    "lineage": Stage(("lineage",), LineageSpec, LineageResult, False, "Print the chain behind something."),
}
