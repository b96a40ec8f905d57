"""Lists in pages."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Generic, NamedTuple, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from satseg.errors import BadDataError, NotFoundError

T = TypeVar("T")
S = TypeVar("S")


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    total: int = Field(description="Length of the whole list.", examples=[1])
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])


class Wanted(NamedTuple):
    """Which part of a list is asked for."""

    limit: int
    offset: int

    def of(self, everything: Sequence[S], show: Callable[[S], T]) -> Page[T]:
        """Return the page of a sequence; `show` is called for its items alone."""
        part = everything[self.offset : self.offset + self.limit]
        return self.page([show(one) for one in part], len(everything))

    def readable(self, everything: Sequence[S], show: Callable[[S], T]) -> tuple[Page[T], list[str]]:
        """Return the page of a sequence without the items that are damaged, and what is wrong with those."""
        shown, damaged = [], []
        for one in everything[self.offset : self.offset + self.limit]:
            try:
                shown.append(show(one))
            except (BadDataError, NotFoundError) as error:
                damaged.append(str(error))
        return self.page(shown, len(everything)), damaged

    def page(self, items: Iterable[T], total: int) -> Page[T]:
        """Return a page whose items are known already."""
        return Page(items=list(items), total=total, limit=self.limit, offset=self.offset)


def _wanted(
    limit: Annotated[int, Query(ge=1, le=500, description="Most items in the answer.")] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many to leave out before.")] = 0,
) -> Wanted:
    return Wanted(limit, offset)


PageQuery = Annotated[Wanted, Depends(_wanted)]
