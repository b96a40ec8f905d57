"""Windows worth labelling."""

from typing import Literal

from pydantic import Field

from satseg.stages.base import Result, Spec


class SelectSpec(Spec):
    """Choose windows of unlabelled scenes for the annotators, or collect what they have checked."""

    budget: int | None = Field(None, ge=1, description="How many windows (step 'select').")
    step: Literal["select", "collect"] = "select"
    scenes: list[str] | None = Field(None, description="Only these; default: all without labels.")
    name: str | None = Field(None, description="Name of the selection; default: a hash of what it is made from.")
    model: str = "champion"
    force: bool = False


class SelectResult(Result):
    """A selection of windows."""

    selection: str
    folder: str | None = Field(None, description="What annotators open in LabelMe; null when nothing was selected.")
    model: str
    dataset_version: str
    scenes: list[str] = Field([], description="Scenes that were looked at.")
    candidates: int = Field(0, description="Windows that were looked at.")
    windows: list[str] = Field([], description="Selected windows, the most wanted first; stems of their files.")
    collected: list[str] = Field([], description="Checked windows copied to the drop zone by this run ('collect').")
    waiting: list[str] = Field([], description="Windows that no annotator has checked yet.")
