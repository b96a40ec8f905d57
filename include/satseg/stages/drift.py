"""Profiles, tests, episodes and what follows from them."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from satseg.stages.base import Result, Spec
from satseg.stages.evaluation import Interval


class DriftProfileSpec(Spec):
    """Compute the feature profile of scenes for a night, or take those that the service logged of its requests."""

    night: str
    scenes: list[str] = Field([])
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
    features: list[FeatureDrift] = Field([])
    scenes: list[str] = Field([])
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
