"""What every stage takes and gives."""

from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig


class Spec(BaseModel):
    """Base of all specs: everything a stage needs to know besides the workspace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: ProjectConfig


class Result(BaseModel):
    """Base of all results; the stage operator pushes it to XCom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: str = Field(description="One line for people.")
    warnings: list[str] = []
