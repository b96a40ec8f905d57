"""The stages as data: names, what each takes (spec), what it gives (result), and which want a GPU."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

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
    hard_negatives: bool = Field(
        False, description="Also list the training negatives that the model takes for something."
    )
    force: bool = False


class Interval(BaseModel):
    """A number and where the truth lies, found by resampling spatial blocks; null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    blocks: int = Field(description="Blocks that hold evidence about it.")
    warning: str | None = None


class Details(BaseModel):
    """What a report says of one class, one scene or all held-out ground besides the pixels' scores."""

    boundary_iou: float | None = Field(None, description="IoU of the rims along the contours (Cheng et al. 2021).")
    object_precision: float | None = Field(None, description="Part of the predicted objects that are right.")
    object_recall: float | None = Field(None, description="Part of the labelled objects that are found.")
    object_f1: float | None = Field(None, description="Objects are right at an IoU above 0.5.")
    objects: int = Field(0, description="Labelled objects.")
    ece: float | None = Field(None, description="Expected calibration error of the probabilities.")
    recall_by_size: dict[str, float | None] = Field({}, description="Recall of the pixels of objects, by their size.")
    intervals: dict[str, Interval] = Field({}, description="By the name of the score.")


class Scores(Details):
    """Scores of one class or averaged over the classes; null where nothing is labelled."""

    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    iou_all_positive: float = Field(description="IoU of the map that is positive everywhere.")
    pixels: int
    labelled_pixels: int = Field(0, description="Pixels labelled as the class; of a mean: as any class.")
    predicted_pixels: int = Field(0, description="Pixels predicted as the class; of a mean: as any class.")


class EvaluateResult(Result, Details):
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
    excluded_windows: int = Field(0, description="Test windows left out because the model was trained on that ground.")
    blocks: int = Field(0, description="Spatial blocks they lie in.")
    threshold: float | None = Field(None, description="Probability threshold of one-class maps.")
    best_threshold: float | None = Field(
        None, description="Threshold of the highest IoU on validation windows; reported, not applied."
    )
    best_threshold_iou: float | None = Field(None, description="The IoU it has there.")
    boundary_px: int = Field(0, description="Width of the rim of boundary IoU.")
    page: str | None = Field(None, description="The report for people, one HTML file.")
    hard_negatives: str | None = Field(None, description="List of hard negatives (CSV), when it was asked for.")
    pictures: list[str] = []


class RegisterSpec(Spec):
    """Make a run a version of the project's registered model, as challenger."""

    run: str


class Gate(BaseModel):
    """One rule of a promotion and what came of it."""

    name: str
    passed: bool = Field(description="Without enough evidence: what an automatic decision takes it for.")
    value: float | None
    bound: float | None
    evidence: str
    undecided: bool = Field(False, description="Whether there is not enough evidence for a verdict.")
    low: float | None = Field(None, description="Lower end of the value's 95% interval.")
    high: float | None = Field(None, description="Upper end.")
    blocks: int | None = Field(None, description="Spatial blocks the value rests on.")
    blocks_needed: int | None = Field(None, description="Blocks that a verdict needs.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Literal["passed", "failed", "not enough evidence"]:
        """One of three."""
        if self.undecided:
            return "not enough evidence"
        return "passed" if self.passed else "failed"


class RegistryResult(Result):
    """A version and what was decided about it."""

    version: str
    alias: str | None
    decision: Literal["registered", "promotable", "promoted", "undecided", "refused", "rolled_back", "unchanged"]
    previous: str | None = Field(None, description="Champion before the decision.")
    gates: list[Gate] = []
    undecided: list[str] = Field([], description="Gates without enough evidence, on which a person has to decide.")
    links: dict[str, str] = Field({}, description="Where the evidence can be looked at, by its name.")


class PromoteSpec(Spec):
    """Decide whether a version becomes champion."""

    version: str = Field(description="Version number or alias.")
    check: bool = Field(False, description="Only evaluate the gates.")
    approved_by: str | None = None
    rejected_by: str | None = Field(None, description="Who says no whatever the gates say; it is recorded.")
    reason: str = ""


class RollbackSpec(Spec):
    """Make the previous champion champion again."""

    reason: str = ""
    by: str | None = Field(None, description="Who asks for it; default: the account that runs this.")
    request: str | None = Field(None, description="Name of the wish, which is carried out once however often it comes.")


# --- maps -----------------------------------------------------------------------------------------------------


class PredictSpec(Spec):
    """Predict whole scenes."""

    scenes: list[str] = Field(min_length=1, description="Scene ids of the dataset, or raster files.")
    out: Path | None = Field(None, description="Default: the workspace's predictions folder.")
    model: str = "champion"
    step: Literal["plan", "all"] = "all"
    part: str | None = Field(
        None,
        pattern=r"^[1-9]\d*/[1-9]\d*$",
        description="Only predict this share of each scene's rows, '2/3'; a run without it joins them.",
    )
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
    polygon_files: dict[str, str] = Field({}, description="The polygons by format; `polygons` is one of them.")


class PredictResult(Result):
    """All predicted scenes; after 'plan' how large ones are shared, after 'part' nothing yet."""

    model_version: str | None
    run_id: str
    predictions: list[Prediction]
    engine: str = Field("tf", description="What ran the model.")
    scenes: list[str] = Field([], description="Scenes asked for.")
    parts: list[list[str]] = Field([], description="Scene and share ('1/3') of each part of a large scene (plan).")


class ExplainSpec(Spec):
    """Show where a model looks and where it is unsure."""

    scene: str = Field(description="Scene id of the dataset, or a raster file.")
    window: tuple[int, int, int] | None = Field(
        None, description="First row, first column and side in pixels; default: the whole scene."
    )
    class_name: str | None = Field(None, description="The class that is explained; default: the first.")
    model: str = "champion"
    stride: Literal[2, 4, 8, 16, 32] = Field(32, description="Pixels per step of the feature maps that are weighed.")
    test_time: Literal["flips", "turns", "all"] = Field("all", description="Views whose disagreement is measured.")
    out: Path | None = Field(None, description="Folder; default: in the workspace.")
    force: bool = False


class ExplainResult(Result):
    """Files of an explanation, and its numbers."""

    scene: str
    model: str
    class_name: str
    raster: str = Field(description="GeoTIFF with the bands of `bands`.")
    picture: str
    bands: list[str]
    class_fraction: float = Field(description="Part of the ground that is mapped as the class.")
    mean_entropy: float = Field(description="Mean uncertainty in 0..1, that of the mean over the views.")
    mean_disagreement: float = Field(description="The part of it that comes from the views' disagreement.")
    changed: bool = True


class ExportSpec(Spec):
    """Make a file of a model version for another engine."""

    version: str = Field(description="Version number or alias.")
    format: Literal["onnx", "tflite"]
    precision: Literal["float32", "float16", "int8"] = "float32"
    patch_set: str | None = Field(None, description="Default: the one the model was trained on.")
    calibration_windows: int = Field(128, ge=1, description="Train windows that set the ranges of int8.")
    force: bool = False


class ExportResult(Result):
    """An exported model and how near it is to the original."""

    version: str
    engine: str
    exported: bool = Field(description="Whether its parity passed and the version is marked as exported.")
    file: str | None = Field(description="The exported file; null when its parity failed.")
    failures: list[str] = Field([], description="Bounds of the parity that are not kept.")
    parity: dict[str, Any] = Field({}, description="Content of parity.json.")
    changed: bool = True


# --- drift ----------------------------------------------------------------------------------------------------


class DriftProfileSpec(Spec):
    """Compute the feature profile of scenes for a night, or take those that the service logged of its requests."""

    night: str
    scenes: list[str] = []
    requests: str | None = Field(None, description="Day (YYYY-MM-DD, UTC) whose logged requests belong to the night.")

    @model_validator(mode="after")
    def _something(self) -> "DriftProfileSpec":
        if not self.scenes and self.requests is None:
            raise ValueError("neither scenes nor a day of requests to profile")
        return self


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
    kind: Literal["radiometric", "texture", "content", "prediction"] = Field(
        "radiometric", description="What it speaks of: light and colour, sharpness, what is there, what is predicted."
    )


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
    correction: Literal["Holm", "step-down maxT", "Benjamini-Hochberg"] | None = Field(
        None, description="Correction over the features."
    )
    false_alarm_bound: float | None = Field(
        None, description="Chance of an alarm in a quiet night, also when scenes differ from each other by nature."
    )
    reference_scenes: int = 0
    patches: dict[str, int] = Field({}, description="Patches compared, of 'reference' and 'night'.")
    kept: bool = Field(False, description="The result is an earlier one, about other scenes than asked for.")
    together: list[FeatureDrift] = Field([], description="Tests of many features at once.")
    predictions: list[FeatureDrift] = Field([], description="Tests of what the champion predicts.")
    level: float | None = Field(None, description="Adjusted p-value up to which a test of this night counts.")
    quiet_nights: int | None = Field(None, description="Nights over which drift.false_alarm_rate is kept.")
    period_bound: float | None = Field(
        None, description="Chance of any confirmed alarm in so many quiet nights, also when scenes differ by nature."
    )
    earlier_nights: list[str] = Field([], description="Nights of this period whose scenes joined the reference's side.")
    kinds: list[str] = Field([], description="What kind of drift, the strongest first.")
    severity: Literal["slight", "clear", "severe"] | None = Field(None, description="By the largest distance.")


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


class LabelsSpec(Spec):
    """Are there enough new labels for a retraining."""

    night: str | None = Field(None, description="Night of the drift; names what annotators are asked for.")


class LabelsResult(Result):
    """The new labels of a retraining."""

    request: str = Field(description="Name of the selection, should annotators be asked.")
    dataset_version: str = Field(description="Newest version.")
    new_scenes: list[str] = Field([], description="Labelled scenes that the champion has not learned from.")
    candidates: list[str] = Field([], description="Scenes without labels, to select windows from.")
    enough: bool = Field(description="Nobody needs to be asked, or there is nothing to ask about.")


class EvidenceSpec(Spec):
    """Keep with a retrained run why it was trained and what it changed."""

    run: str = Field(description="The retrained run.")
    champion: str = Field(description="Run of the champion, measured on the same patch set.")
    patch_set: str
    night: str | None = Field(None, description="Night of the drift; None when a person wanted the retraining.")


class BeforeAfter(BaseModel):
    """IoU on the same test blocks of champion and retrained model; null where nothing is labelled."""

    champion: float | None
    retrained: float | None
    blocks: int


class EvidenceResult(Result):
    """What goes into the model card."""

    run_id: str
    night: str | None
    reason: str
    old: BeforeAfter = Field(description="On scenes the champion has learned from.")
    new: BeforeAfter = Field(description="On scenes that are new since.")


class ConceptSpec(Spec):
    """Does the champion still find what it found? Measured on scenes labelled since, estimated on all."""

    scenes: list[str] | None = Field(None, description="Default: all it has predicted and was not trained on.")


class ConceptResult(Result):
    """The champion's IoU on new scenes beside that on its test blocks."""

    champion: str
    scenes: list[str]
    labelled: list[str] = Field(description="Scenes with labels, on which it is measured.")
    baseline: Interval = Field(description="IoU on the test blocks.")
    measured: Interval = Field(description="IoU on the labelled ones.")
    estimated: Interval = Field(description="IoU on all, estimated without labels.")
    lost: Interval | None = Field(description="Baseline minus measured.")
    drifted: bool = Field(description="Whether the loss is beyond chance: its interval lies above 0.")


# --- labels worth having ----------------------------------------------------------------------------------------


class SelectSpec(Spec):
    """Choose windows of unlabelled scenes for the annotators, or collect what they have checked."""

    budget: int | None = Field(None, ge=1, description="How many windows (step 'select').")
    step: Literal["select", "collect"] = "select"
    scenes: list[str] | None = Field(None, description="Only these; default: all without labels.")
    name: str | None = Field(None, description="Name of the selection; default: a hash of what it is made from.")
    model: str = "champion"
    force: bool = False


class SelectResult(Result):
    """A selection of windows."""

    selection: str
    folder: str | None = Field(None, description="What annotators open in LabelMe; null when nothing was selected.")
    model: str
    dataset_version: str
    scenes: list[str] = Field([], description="Scenes that were looked at.")
    candidates: int = Field(0, description="Windows that were looked at.")
    windows: list[str] = Field([], description="Selected windows, the most wanted first; stems of their files.")
    collected: list[str] = Field([], description="Checked windows copied to the drop zone by this run ('collect').")
    waiting: list[str] = Field([], description="Windows that no annotator has checked yet.")


# --- lineage --------------------------------------------------------------------------------------------------


class LineageSpec(Spec):
    """The chain behind something."""

    target: str = Field(
        description="Prediction file or folder, model version or alias, run id, patch set id, dataset version."
    )


class LineageResult(Result):
    """The chain, from the target back to the sources, and what was made from the target."""

    chain: list[dict[str, Any]]
    uses: list[dict[str, Any]] = Field([], description="Kind, id and uses of each thing made from the target.")


class ReproduceSpec(Spec):
    """Make a model again from what is recorded of it, and compare the weights."""

    version: str = Field(description="Version number, alias or run id.")
    init_from: Path | None = Field(None, description="The file a training started from, where it was no run.")
    keep: bool = Field(False, description="Keep the folder in which everything was made again.")


class ReproduceResult(Result):
    """Whether data, patches and weights came out the same."""

    run_id: str
    version: str | None
    identical: bool = Field(description="Whether every weight is the same, bit for bit.")
    max_difference: float = Field(description="Largest difference of two weights.")
    weights: int = Field(description="Numbers compared.")
    dataset_version: str
    patch_set: str
    patches_identical: bool | None = Field(description="Null when the patch set of the run is gone.")
    same_code: bool = Field(description="Whether the code is the commit the run was trained by, unchanged.")
    val_iou: float = Field(description="Of the training done again.")
    folder: str | None = Field(None, description="Where everything was made again, if it was kept.")


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
    "explain": Stage(("explain",), ExplainSpec, ExplainResult, True, "Show where a model looks.", 240),
    "export": Stage(("export",), ExportSpec, ExportResult, False, "Make a model file for another engine.", 240),
    "drift-profile": Stage(("drift", "profile"), DriftProfileSpec, DriftProfileResult, False, "Profile scenes.", 240),
    "drift-test": Stage(("drift", "test"), DriftTestSpec, DriftResult, False, "Compare a night with the reference."),
    "drift-report": Stage(("drift", "report"), DriftReportSpec, DriftResult, False, "Draw a night's report."),
    "drift-status": Stage(("drift", "status"), DriftStatusSpec, DriftStatusResult, False, "Is drift confirmed?"),
    "drift-episode": Stage(
        ("drift", "episode"), DriftEpisodeSpec, DriftEpisodeResult, False, "Open or close an episode."
    ),
    "drift-labels": Stage(("drift", "labels"), LabelsSpec, LabelsResult, False, "Has a retraining enough new labels?"),
    "drift-evidence": Stage(
        ("drift", "evidence"),
        EvidenceSpec,
        EvidenceResult,
        False,
        "Keep why a model was retrained, and what it changed.",
    ),
    "drift-concept": Stage(
        ("drift", "concept"), ConceptSpec, ConceptResult, True, "Measure the champion on labels that came later."
    ),
    "select": Stage(("select",), SelectSpec, SelectResult, True, "Choose windows worth labelling.", 240),
    "lineage": Stage(("lineage",), LineageSpec, LineageResult, False, "Print the chain behind something."),
    "reproduce": Stage(
        ("reproduce",), ReproduceSpec, ReproduceResult, True, "Make a model again and compare the weights.", 2880
    ),
}
