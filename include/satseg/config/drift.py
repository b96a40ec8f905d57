"""The part of a project file about drift: when a night counts as drifted and what follows."""

from typing import Literal

from pydantic import Field, model_validator

from satseg.config.section import Fraction, Section


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

    false_alarm_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Chance of any confirmed alarm in `quiet_nights` nights without drift."
    )
    quiet_nights: int = Field(30, ge=1, description="Decided nights over which false_alarm_rate is kept.")
    correction: Literal["max", "holm", "benjamini-hochberg"] = Field(
        "max", description="Over the features of a night; max is the strongest, the others need finer p-values."
    )
    units: Literal["auto", "scenes", "blocks"] = Field(
        "auto", description="What is dealt anew for the null distribution; auto: scenes, blocks when they are too few."
    )
    min_effect: Fraction = Field(0.25, description="Least Kolmogorov-Smirnov distance that counts.")
    permutations: int = Field(999, ge=99, description="Permutations of scenes or blocks for the null distribution.")
    patch_px: int = Field(128, ge=32, description="Patch from which features are computed.")
    block_patches: int = Field(2, ge=1, description="A block is so many patches wide and high.")
    reference_season_days: int | None = Field(
        None, ge=1, le=183, description="Compare only with reference scenes taken within so many days of the year."
    )
    predictions: bool = Field(True, description="Also test what the champion predicts, where predictions exist.")
    embeddings: bool = Field(False, description="Also test the champion's pooled encoder output (needs TensorFlow).")
    estimate: bool = Field(
        True, description="Correct label-free estimates by simulated changes of the test windows (needs TensorFlow)."
    )
    alert: bool = Field(True, description="Send a confirmed alarm to the configured webhook, Slack or e-mail.")
    confirm: ConfirmConfig = Field(ConfirmConfig(), description="Confirmation rule of the sensor.")
    cooldown_nights: int = Field(3, ge=0, description="Nights after a closed episode in which none opens.")
    seed: int = Field(0, ge=0, description="Seed of the permutations, together with the night.")
