"""Reading a request's body: how large, how long, and how many at once."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from satseg.serving.metrics import Metrics
from satseg.serving.problems import BusyError, ImageTooLargeError, RequestRefused, SlowBodyError

BODIES_HELD = 4  # of the largest size, together
_WEIGHT = 0.1  # of the newest request in the mean


@dataclass(frozen=True)
class Limits:
    """How much a request may bring."""

    max_body_bytes: int
    max_waiting: int
    body_timeout_s: float


class Intake:
    """Counts the requests and bytes in hand; used from the event loop alone."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._held = 0
        self._bytes = 0
        self._mean_s = 0.5

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request from its headers to its answer.

        Raises:
            BusyError: as many requests as may are held.
        """
        if self._held >= self._limits.max_waiting:
            raise self._busy(f"{self._held} requests are waiting")
        started = asyncio.get_running_loop().time()
        self._held += 1
        self._metrics.waiting.set(self._held)
        try:
            yield
        finally:
            self._held -= 1
            self._metrics.waiting.set(self._held)
            seconds = asyncio.get_running_loop().time() - started
            self._mean_s += _WEIGHT * (seconds - self._mean_s)

    def _busy(self, why: str) -> BusyError:
        # half of what is in hand is done after about half of the time the newest request will have taken
        wait = max(1, math.ceil(self._mean_s / 2))
        return BusyError(f"The service is busy: {why}. Try again in {wait} s.", {"Retry-After": str(wait)})

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        if self._bytes + size > BODIES_HELD * self._limits.max_body_bytes:
            raise self._busy("large bodies are in hand")
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    @contextmanager
    def body_room(self, request: Request) -> Iterator[None]:
        """Reserve room for a body until its answer is made: its announced length, else the largest allowed.

        Raises:
            ImageTooLargeError: it announces more than is allowed.
            BusyError: bodies in hand leave no room.
            RequestRefused: its Content-Length is no number.
        """
        announced, most = request.headers.get("content-length"), self._limits.max_body_bytes
        if announced is not None and not (announced.isascii() and announced.isdigit()):
            raise RequestRefused(f"Content-Length {announced[:50]!r} is no number.")
        size = most if announced is None else int(announced)
        if size > most:
            raise self._too_large()
        with self._room(size):
            yield

    def _too_large(self) -> ImageTooLargeError:
        most = self._limits.max_body_bytes / 2**20
        return ImageTooLargeError(
            f"The body is larger than {most:g} MiB. Send a part of the image, or use satseg predict, which takes any "
            "size.",
            {"Connection": "close"},
        )

    async def read(self, request: Request) -> bytes:
        """Return the body.

        Raises:
            ImageTooLargeError: it is larger than allowed, whatever it announced.
            SlowBodyError: it did not come in time, or not whole.
        """
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                async for piece in request.stream():
                    size += len(piece)
                    if size > self._limits.max_body_bytes:
                        raise self._too_large()
                    pieces.append(piece)
        except TimeoutError as error:
            raise SlowBodyError(
                f"The body did not come within {self._limits.body_timeout_s:g} s.", {"Connection": "close"}
            ) from error
        except ClientDisconnect as error:
            raise SlowBodyError("The connection ended before the body did.") from error
        return b"".join(pieces)
