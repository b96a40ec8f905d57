"""Where things come from, and making them again."""

from pathlib import Path
from typing import Any

from pydantic import Field

from satseg.stages.base import Result, Spec


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
