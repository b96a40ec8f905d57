"""The part of a project file about measuring models."""

from pydantic import Field, model_validator

from satseg.config.section import Section


class EvaluationConfig(Section):
    """What a report measures besides the pixels' scores."""

    interval_level: float = Field(0.95, gt=0.5, lt=1, description="How often an interval shall hold the truth.")
    repetitions: int = Field(2000, ge=200, description="Draws of blocks behind each interval.")
    boundary_m: float | None = Field(
        None, gt=0, description="Width of the rim that boundary IoU looks at; null: 2% of a patch's diagonal."
    )
    small_below_m2: float = Field(40.0, gt=0, description="Objects of less ground are called small.")
    large_from_m2: float = Field(160.0, gt=0, description="Objects of at least this ground are called large.")
    calibration_bins: int = Field(15, ge=2, le=100, description="Probability bins of the reliability diagram.")
    threshold_windows: int = Field(
        8, ge=0, description="Validation windows predicted to find the best threshold; 0 leaves that out."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "EvaluationConfig":
        if self.small_below_m2 > self.large_from_m2:
            raise ValueError(
                f"small_below_m2 {self.small_below_m2:g} is larger than large_from_m2 {self.large_from_m2:g}"
            )
        return self
