"""The part of a project file that decides what a hyper-parameter search tries."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from satseg.config.section import Section

S = TypeVar("S", bound=Section)

Choice = str | int | float | bool | None | tuple[str, ...]


class ParameterRange(Section):
    """What one key of the project file may be: between `low` and `high`, or one of `choices`."""

    low: float | None = Field(None, description="Smallest value.")
    high: float | None = Field(None, description="Largest value.")
    log: bool = Field(False, description="Try orders of magnitude evenly; for learning rates.")
    integer: bool = Field(False, description="Whole numbers only.")
    choices: tuple[Choice, ...] | None = Field(None, min_length=1, description="The values to choose among.")

    @model_validator(mode="after")
    def _consistent(self) -> "ParameterRange":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.integer:
                raise ValueError("give either choices or low and high, not both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError("integer needs whole numbers as low and high")
        return self

    def samples(self) -> tuple[Any, ...]:
        """Return values that must be possible for the key: every choice, or both ends and one between."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        if self.integer:
            return int(self.low), int(self.high)
        return self.low, self.low + 0.4142 * (self.high - self.low), self.high

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return isinstance(value, int | float) and self.low <= value <= self.high


class SearchConfig(Section):
    """The hyper-parameter search; without a space each training uses the project's own values."""

    trials: int = Field(8, ge=1, le=1000, description="Trials of one search; the first has the project's own values.")
    startup_trials: int = Field(4, ge=1, description="Trials at random before what was learnt guides the choice.")
    prune: bool = Field(True, description="Stop a trial whose val IoU is below the median of earlier ones.")
    prune_after_epochs: int = Field(3, ge=1, description="Epochs each trial may train before it can be stopped.")
    seed: int = Field(0, ge=0, description="Seed of the choice.")
    space: dict[str, ParameterRange] = Field({}, description="Key of the project file to what it may be.")


def value_at(section: Section, path: Sequence[str]) -> Any:
    """Return the value of a key below a section; the path is its names."""
    value: Any = section
    for name in path:
        value = getattr(value, name)
    return value


def with_value(section: S, path: Sequence[str], value: Any) -> S:
    """Return the section with another value at a key, checked like the project file.

    Raises:
        ValueError: there is no such key (the nearest is named), or it cannot have this value.
    """
    name = path[0]
    fields = type(section).model_fields
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        raise ValueError(
            "unknown key; " + (f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(fields)}")
        )
    if len(path) > 1:
        below = getattr(section, name)
        if not isinstance(below, Section):
            raise ValueError(f"'{name}' is a value, not a section of the project file")
        value = with_value(below, path[1:], value).model_dump()
    return type(section).model_validate(section.model_dump() | {name: value})


def check_space(space: Mapping[str, ParameterRange], sections: Mapping[str, Section]) -> None:
    """Refuse a search space that holds values the project file could not have.

    Raises:
        ValueError: names the key, the value and why.
    """
    for key, range_ in space.items():
        section, *path = key.split(".")
        if section not in sections or not path:
            names = " and ".join(f"{name}.*" for name in sections)
            raise ValueError(f"search.space.{key}: only keys {names} can be searched")
        for value in range_.samples():
            try:
                with_value(sections[section], path, value)
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                hint = " (add integer: true)" if "integer" in reason and range_.choices is None else ""
                raise ValueError(f"search.space.{key}: {value!r} is not possible: {reason}{hint}") from error
            except ValueError as error:
                raise ValueError(f"search.space.{key}: {error}") from error
