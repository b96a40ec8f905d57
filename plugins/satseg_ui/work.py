"""Reading and drawing in threads of satseg's own: neither the event loop nor Airflow's threads wait for it."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Response
from pydantic import BaseModel

T = TypeVar("T")
THREADS = CapacityLimiter(6)  # of Airflow's forty none


async def in_thread(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run something that takes time."""
    return await to_thread.run_sync(partial(function, *arguments, **named), limiter=THREADS)


def threaded(handler: Callable[..., Any]) -> Callable[..., Awaitable[Response]]:
    """Return a route handler that runs in a thread, where its answer is turned into JSON as well."""

    @wraps(handler)
    async def waiting(**arguments: Any) -> Response:
        return await in_thread(_answer, handler, arguments)

    return waiting


def _answer(handler: Callable[..., Any], arguments: dict[str, Any]) -> Response:
    made = handler(**arguments)
    return made if isinstance(made, Response) else json_answer(made)


def json_answer(made: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a model as JSON."""
    return Response(made.model_dump_json(by_alias=True), status, headers, media_type="application/json")
