"""Versions, gates and decisions."""

from typing import Literal

from pydantic import BaseModel, Field, computed_field

from satseg.stages.base import Result, Spec


class RegisterSpec(Spec):
    """Make a run a version of the project's registered model, as challenger."""

    run: str


class Gate(BaseModel):
    """One rule of a promotion and what came of it."""

    name: str
    passed: bool = Field(description="Without enough evidence: what an automatic decision takes it for.")
    value: float | None
    bound: float | None
    evidence: str
    undecided: bool = Field(False, description="Whether there is not enough evidence for a verdict.")
    low: float | None = Field(None, description="Lower end of the value's 95% interval.")
    high: float | None = Field(None, description="Upper end.")
    blocks: int | None = Field(None, description="Spatial blocks the value rests on.")
    blocks_needed: int | None = Field(None, description="Blocks that a verdict needs.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Literal["passed", "failed", "not enough evidence"]:
        """One of three."""
        if self.undecided:
            return "not enough evidence"
        return "passed" if self.passed else "failed"


class RegistryResult(Result):
    """A version and what was decided about it."""

    version: str
    alias: str | None
    decision: Literal["registered", "promotable", "promoted", "undecided", "refused", "rolled_back", "unchanged"]
    previous: str | None = Field(None, description="Champion before the decision.")
    gates: list[Gate] = Field([])
    undecided: list[str] = Field([], description="Gates without enough evidence, on which a person has to decide.")
    links: dict[str, str] = Field({}, description="Where the evidence can be looked at, by its name.")


class PromoteSpec(Spec):
    """Decide whether a version becomes champion."""

    version: str = Field(description="Version number or alias.")
    check: bool = Field(False, description="Only evaluate the gates.")
    approved_by: str | None = None
    rejected_by: str | None = Field(None, description="Who says no whatever the gates say; it is recorded.")
    reason: str = ""


class RollbackSpec(Spec):
    """Make the previous champion champion again."""

    reason: str = ""
    by: str | None = Field(None, description="Who asks for it; default: the account that runs this.")
    request: str | None = Field(None, description="Name of the wish, which is carried out once however often it comes.")
