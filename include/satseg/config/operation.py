"""The parts of a project file about models at work: promotion, inference, drift, schedules."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from satseg.config.section import Fraction, Section


class PromotionConfig(Section):
    """Gates between challenger and champion."""

    min_iou: Fraction = Field(0.3, description="Absolute floor of the test IoU.")
    margin_over_all_positive: float = Field(
        0.0, description="Least test IoU above the map that is positive everywhere."
    )
    max_iou_loss: Fraction = Field(0.01, description="How much worse than the champion a challenger may be.")
    approval: Literal["auto", "manual"] = Field("auto", description="manual asks a person in the Airflow UI.")


class InferenceConfig(Section):
    """How whole scenes are predicted."""

    window_px: int = Field(256, ge=64, multiple_of=32, description="Window fed to the model.")
    overlap: float = Field(0.5, ge=0, lt=1, description="Overlapping part of neighbouring windows.")
    batch_size: int = Field(8, ge=1, description="Windows per model call.")
    threshold: Fraction = Field(0.5, description="Probability from which a pixel belongs to a class (one-class maps).")
    min_area_m2: float = Field(2.0, ge=0, description="Smaller polygons are dropped.")
    simplify_m: float = Field(0.2, ge=0, description="Douglas-Peucker tolerance of the polygons.")


class ConfirmConfig(Section):
    """k of n nights."""

    nights: int = Field(2, ge=1, description="Drifted nights needed (k).")
    of: int = Field(3, ge=1, description="Latest nights looked at (n).")

    @model_validator(mode="after")
    def _consistent(self) -> "ConfirmConfig":
        if self.nights > self.of:
            raise ValueError(f"nights {self.nights} is larger than of {self.of}: drift could never be confirmed")
        return self


class DriftConfig(Section):
    """When a night counts as drifted and what follows."""

    false_alarm_rate: float = Field(0.05, gt=0, lt=0.5, description="Chance of an alarm in a night without drift.")
    min_effect: Fraction = Field(0.25, description="Least Kolmogorov-Smirnov distance that counts.")
    permutations: int = Field(999, ge=99, description="Permutations of blocks for the null distribution.")
    patch_px: int = Field(128, ge=32, description="Patch from which features are computed.")
    block_patches: int = Field(2, ge=1, description="A block is so many patches wide and high.")
    confirm: ConfirmConfig = Field(ConfirmConfig(), description="Confirmation rule of the sensor.")
    cooldown_nights: int = Field(3, ge=0, description="Nights after a closed episode in which none opens.")
    seed: int = Field(0, ge=0, description="Seed of the permutations, together with the night.")


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
