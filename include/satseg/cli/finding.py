"""What `satseg doctor` says about one thing."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and how to mend it.

    Attributes:
        what: The thing.
        state: `missing` keeps satseg from working, `note` limits it or is a matter of taste.
        found: What was found.
        mend: What to do; empty when nothing has to be done.
    """

    what: str
    state: State
    found: str
    mend: str = ""
