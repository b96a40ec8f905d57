"""A link of the chain: what it is, its facts, and whether what is on disk is still what was recorded."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["prediction", "model_version", "run", "code", "patch_set", "dataset_version", "scene"]
State = Literal["ok", "changed", "missing", "not checked"]


class Check(BaseModel):
    """The state of one file or statement against what was recorded of it."""

    model_config = ConfigDict(frozen=True)

    what: str
    state: State


class Use(BaseModel):
    """Something that was made from another thing, with what was made from it in turn."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    id: str = Field(description="Its name; the folder of a prediction.")
    uses: list["Use"] = []

    @property
    def words(self) -> str:
        """Kind and name."""
        return f"{self.kind.replace('_', ' ')} {self.id}"


class Node(BaseModel):
    """One link; facts without a value are left out."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    id: str
    facts: dict[str, str]
    checks: list[Check] = []
    used_by: list[str] = []

    @property
    def state(self) -> State | None:
        """The worst state of the checks, None without any."""
        states: tuple[State, ...] = ("changed", "missing", "not checked", "ok")
        return next((state for state in states if any(check.state == state for check in self.checks)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the node as JSON holds it."""
        return self.model_dump(mode="json") | {"state": self.state}


def facts(**values: object) -> dict[str, str]:
    """Return values as text, None and empty text left out."""
    return {name: str(value) for name, value in values.items() if value not in (None, "")}
