"""The part of a project file about choosing windows that are worth labelling."""

from typing import Literal

from pydantic import Field

from satseg.config.section import Section


class SelectionConfig(Section):
    """How `satseg select` chooses windows for the annotators."""

    window_px: int | None = Field(
        None, ge=64, le=8192, description="Width and height of a window to label; null: patches.size_px."
    )
    context_px: int = Field(32, ge=0, le=1024, description="Pixels around it that the model sees too.")
    uncertainty: Literal["entropy", "margin"] = Field(
        "entropy", description="Mean over the pixels: of the entropy, or of how near the two best classes are."
    )
    diversity: Literal["k-center", "k-means++", "none"] = Field(
        "k-center",
        description="Far from what is chosen already, in the encoder's eyes, times uncertainty: the farthest, or one "
        "drawn by its squared distance; or uncertainty alone.",
    )
    pool: int = Field(10_000, ge=100, description="Windows held in memory; of more, a sample weighted by uncertainty.")
    seed: int = Field(0, ge=0, description="Seed of the sample and of k-means++.")
