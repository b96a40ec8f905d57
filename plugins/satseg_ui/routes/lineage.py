"""The chain behind a thing, and what was made from it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from satseg_ui.project_files import workspace
from satseg_ui.rights import Readable
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}", tags=["lineage"])
HASHED_BYTES = 64 * 2**20  # files are compared with their checksums up to here, so that the answer comes in a second
PREDICTION = "prediction:"


class Check(BaseModel):
    """A file or statement against what was recorded of it."""

    what: str
    state: str = Field(description="ok, changed, missing or not checked.", examples=["ok"])


class Node(BaseModel):
    """A link of the chain."""

    kind: str = Field(examples=["model_version"])
    id: str = Field(examples=["v3"])
    facts: dict[str, str]
    checks: list[Check]
    used_by: list[str]
    state: str | None = Field(description="The worst of its checks.")


class Lineage(BaseModel):
    """From a thing back to the sources, and forward to what was made from it."""

    message: str
    warnings: list[str]
    chain: list[Node]
    uses: list[dict[str, Any]] = Field(description="Kind, id and uses of each thing made from it.")


Target = Annotated[
    str,
    Query(
        pattern=r"^([A-Za-z0-9@][A-Za-z0-9@:._-]{0,199}|prediction:[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)$",
        max_length=300,
        description="Model version or alias, run id, patch set id, dataset:v3, scene:ID or prediction:SCENE/MODEL.",
        examples=["champion", "dataset:v1", "prediction:ggaba_a/v1"],
    ),
]


@router.get("/lineage", summary="Where something comes from, and what was made of it")
@threaded
def lineage(project: Readable, target: Target) -> Lineage:
    """Show the chain from scenes and code to maps; large files are not hashed here, `satseg lineage` does."""
    from satseg.lineage.chain import run
    from satseg.stages import LineageSpec

    if target.startswith(PREDICTION) and "/" in target:
        target = PREDICTION + str(workspace().prediction(project.name, *target.removeprefix(PREDICTION).split("/")))
    found = run(LineageSpec(project=project, target=target), workspace(), HASHED_BYTES)
    return Lineage(**found.model_dump())
