"""Scores of a model."""

from pydantic import BaseModel, Field

from satseg.stages.base import Result, Spec


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
