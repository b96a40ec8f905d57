"""The part of a project file that decides how scenes are cut."""

from pydantic import Field, model_validator

from satseg.config.section import Fraction, Section


class PatchConfig(Section):
    """How scenes are cut into windows, sampled and split."""

    size_px: int = Field(256, ge=32, multiple_of=32, description="Width and height of a patch.")
    stride_px: int = Field(128, ge=16, description="Step between training windows; val and test use size_px.")
    block_px: int = Field(512, ge=32, description="Side of a spatial block; a block belongs to one split.")
    buffer_m: float = Field(5.0, ge=0, description="Least distance of training windows to val and test windows.")
    buffer_px: int = Field(16, ge=0, description="The same for scenes without a CRS.")
    val_fraction: Fraction = Field(0.15, description="Part of the blocks used to choose the epoch.")
    test_fraction: Fraction = Field(0.2, description="Part of the blocks held out for evaluation.")
    max_nodata_fraction: Fraction = Field(0.5, description="Windows with more nodata are dropped.")
    positive_fraction: Fraction = Field(0.01, description="Labelled part from which a window counts as positive.")
    copies_per_positive: int = Field(6, ge=1, description="Draw weight of a positive window in training.")
    negatives_per_positive: float = Field(1.0, ge=0, description="Training negatives kept per positive.")
    shard_mib: int = Field(128, ge=1, description="Size of one shard file.")
    seed: int = Field(0, description="Seed of split and sampling.")

    @model_validator(mode="after")
    def _consistent(self) -> "PatchConfig":
        if self.stride_px > self.size_px:
            raise ValueError(f"stride_px {self.stride_px} is larger than size_px {self.size_px}: pixels would be lost")
        if self.block_px % self.size_px:
            raise ValueError(f"block_px {self.block_px} is not a multiple of size_px {self.size_px}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction + test_fraction leave nothing to train on")
        return self
