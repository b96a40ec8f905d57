"""The part of a project file that decides how scenes are cut."""

from typing import Any, Literal

from pydantic import Field, model_validator

from satseg.config.section import Fraction, Section

Edge = Literal["shift", "pad", "drop"]
SplitBy = Literal["blocks", "scene", "column"]


class PatchConfig(Section):
    """How scenes are cut into windows, sampled and split."""

    size_px: int = Field(256, ge=32, le=8192, multiple_of=32, description="Width and height of a patch.")
    stride_px: int = Field(128, ge=16, description="Step between training windows; val and test use size_px.")
    edge: Edge = Field(
        "shift",
        description="At the scene's right and lower edge: shift the last window inward, pad it with a mirror image, "
        "or drop what a whole window does not fit in.",
    )
    block_px: int = Field(512, ge=32, le=2**20, description="Side of a spatial block; a block belongs to one split.")
    split_by: SplitBy = Field(
        "blocks", description="What goes to one split as a whole: a block, a scene, or what a column of yours says."
    )
    split_file: str | None = Field(
        None, description="split_by: column: CSV file with columns scene,split; relative to the workspace."
    )
    split_property: str | None = Field(
        None, description="split_by: column, without a file: the STAC property of a scene that names its split."
    )
    buffer_m: float = Field(
        5.0, ge=0, le=100_000, description="Least distance of training windows to val and test windows."
    )
    buffer_px: int = Field(16, ge=0, le=100_000, description="The same for scenes without a CRS.")
    val_fraction: Fraction = Field(0.15, description="Part of the blocks used to choose the epoch.")
    test_fraction: Fraction = Field(0.2, description="Part of the blocks held out for evaluation.")
    max_nodata_fraction: Fraction = Field(0.5, description="Windows with more nodata are dropped.")
    positive_fraction: Fraction = Field(0.01, description="Labelled part from which a window counts as positive.")
    min_label_px: int = Field(0, ge=0, le=2**30, description="Labelled pixels it needs besides to count as positive.")
    copies_per_positive: int = Field(6, ge=1, le=1000, description="Draw weight of a positive window in training.")
    negatives_per_positive: float = Field(1.0, ge=0, le=1000, description="Training negatives kept per positive.")
    hard_negatives: str | None = Field(
        None,
        description="CSV, JSON or Parquet file of windows (scene,row,col and perhaps size) that a model got wrong; "
        "training negatives on them are always kept. Relative to the workspace.",
    )
    copies_per_hard_negative: int = Field(3, ge=1, le=1000, description="Draw weight of a hard negative in training.")
    shard_mib: int = Field(128, ge=1, le=65_536, description="Size of one shard file.")
    seed: int = Field(0, ge=-(2**63), lt=2**63, description="Seed of split and sampling.")

    @model_validator(mode="after")
    def _consistent(self) -> "PatchConfig":
        if self.stride_px > self.size_px:
            raise ValueError(f"stride_px {self.stride_px} is larger than size_px {self.size_px}: pixels would be lost")
        if self.block_px % self.size_px:
            raise ValueError(f"block_px {self.block_px} is not a multiple of size_px {self.size_px}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction + test_fraction leave nothing to train on")
        named = [self.split_file, self.split_property].count(None) != 2
        if named != (self.split_by == "column"):
            raise ValueError("split_by 'column' goes with split_file or split_property, and they with it")
        return self

    def parameters(self) -> dict[str, Any]:
        """Return what decides the patches; keys added since the first release only where they are used.

        So ids of patch sets stay the same when satseg learns something new.
        """
        values = self.model_dump(mode="json")
        return {key: value for key, value in values.items() if key not in _LATER or value != _LATER[key]}


_LATER: dict[str, Any] = {
    key: PatchConfig.model_fields[key].default
    for key in (
        "edge", "split_by", "split_file", "split_property", "min_label_px", "hard_negatives",
        "copies_per_hard_negative",
    )
}  # fmt: skip
