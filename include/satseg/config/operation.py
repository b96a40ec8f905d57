"""The parts of a project file about models at work: promotion, inference, drift, schedules."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from satseg.config.drift import ConfirmConfig, DriftConfig
from satseg.config.section import Fraction, Section

__all__ = ["ConfirmConfig", "DriftConfig", "InferenceConfig", "PromotionConfig", "ScheduleConfig"]

Slice = Literal["scene", "class", "size"]


class PromotionConfig(Section):
    """Gates between challenger and champion."""

    min_iou: Fraction = Field(0.3, description="Absolute floor of the test IoU.")
    margin_over_all_positive: float = Field(
        0.0, description="Least test IoU above the map that is positive everywhere."
    )
    max_iou_loss: Fraction = Field(0.01, description="How much worse than the champion a challenger may be.")
    slices: tuple[Slice, ...] = Field(
        ("scene", "class", "size"), description="Parts of the test blocks compared one by one: scenes, classes, sizes."
    )
    max_slice_loss: Fraction = Field(0.05, description="How much worse it may be in one scene, class or size.")
    min_blocks: int = Field(30, ge=2, description="With fewer test blocks a comparison is not enough evidence.")
    max_calibration_error: Fraction | None = Field(
        None, description="Largest expected calibration error (ECE) of the probabilities; null sets no bound."
    )
    max_latency_s: float | None = Field(
        None, gt=0, description="Longest time of the packaged model for one window, in the median; null sets no bound."
    )
    max_memory_mib: float | None = Field(
        None, gt=0, description="Largest memory of the process that serves the packaged model; null sets no bound."
    )
    require_committed_code: bool = Field(False, description="Refuse models trained by code that is in no git commit.")
    require_licence: bool = Field(False, description="Refuse to promote while `licence` is not stated.")
    licence: str = Field("", description="Licence of the scenes and labels, for the model card.")
    intended_use: str = Field("", description="What the maps are meant for, for the model card.")
    limits: str = Field("", description="What the maps are not good for, for the model card.")
    approval: Literal["auto", "unsure", "manual"] = Field(
        "auto",
        description="manual asks a person in the Airflow UI, unsure only where a gate has not enough evidence; auto "
        "never asks: the measured difference then decides over the whole, and slices do not count.",
    )
    answer_within_hours: float = Field(168.0, gt=0, description="Without an answer in this time a version is refused.")


class InferenceConfig(Section):
    """How whole scenes are predicted."""

    window_px: int = Field(256, ge=64, multiple_of=32, description="Window fed to the model.")
    overlap: float = Field(0.5, ge=0, lt=1, description="Overlapping part of neighbouring windows.")
    batch_size: int = Field(8, ge=1, description="Windows per model call.")
    threshold: Fraction = Field(0.5, description="Probability from which a pixel belongs to a class (one-class maps).")
    min_area_m2: float = Field(2.0, ge=0, description="Smaller polygons are dropped.")
    simplify_m: float = Field(0.2, ge=0, description="Douglas-Peucker tolerance of the polygons.")
    engine: Literal["auto", "tf", "onnx", "litert", "litert_int8"] = Field(
        "auto", description="What runs the model; auto: the fastest export that passed its parity, else TensorFlow."
    )
    weighting: Literal["hann", "gaussian", "triangle", "flat"] = Field(
        "hann", description="How much the pixels of a window count, from its middle to its border."
    )
    test_time: Literal["none", "flips", "turns", "all"] = Field(
        "none", description="Mean over mirrored or turned windows: 4 (flips, turns) or 8 (all) times the work."
    )
    probability: Literal["uint8", "float16", "float32"] = Field(
        "uint8", description="Pixels of the probability map; uint8 is in steps of 1/254."
    )
    fill_holes_m2: float | None = Field(
        None, ge=0, description="Smaller holes in polygons are filled, at most min_area_m2; null: min_area_m2."
    )
    square_classes: tuple[str, ...] = Field((), description="Classes whose polygons get right angles, like buildings.")
    polygon_formats: tuple[Literal["geoparquet", "geopackage", "geojson"], ...] = Field(
        ("geoparquet", "geojson"), min_length=1, description="Files of the polygons; all hold the same."
    )
    split_mpix: float | None = Field(
        None, gt=0, description="A larger scene is predicted in parts by several tasks; null: one task per scene."
    )

    @model_validator(mode="after")
    def _holes_hold_no_object(self) -> "InferenceConfig":
        if self.fill_holes_m2 is not None and self.fill_holes_m2 > self.min_area_m2:
            raise ValueError(
                f"fill_holes_m2 {self.fill_holes_m2:g} is larger than min_area_m2 {self.min_area_m2:g}: "
                "an object could stand in a filled hole"
            )
        return self


def _cron(value: str) -> str:
    from croniter import croniter

    if len(value.split()) != 5 or not croniter.is_valid(value):
        raise ValueError("not a cron expression: write minute, hour, day, month, weekday, for example '0 2 * * *'")
    return value


Cron = Annotated[str, AfterValidator(_cron)]


class ScheduleConfig(Section):
    """Cron expressions (UTC); null means manual only."""

    ingestion: Cron | None = Field(None, description="When incoming/<project>/ is ingested.")
    inference: Cron | None = Field(None, description="When new scenes are predicted, besides after a promotion.")
    drift: Cron | None = Field("0 2 * * *", description="The nightly drift detection.")
