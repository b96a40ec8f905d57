"""What a client is told when a request is not carried out: RFC 9457, one table from error to status."""

import errno
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from satseg.errors import BadDataError, ConfigurationError, NotFoundError, SatsegError, TemporaryError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One wrong value of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["No project 'roads'."])
    errors: list[FieldProblem] | None = None


class Refusal(Exception):  # noqa: N818 - a decision about a request
    """A request that is not carried out."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def problem_response(
    status: int, detail: str, headers: Any = None, errors: list[FieldProblem] | None = None
) -> Response:
    """Return an answer with a problem."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)


def status_of(error: SatsegError) -> HTTPStatus:
    """Return the HTTP status of an error of satseg."""
    table = (
        (NotFoundError, HTTPStatus.NOT_FOUND),
        (ConfigurationError, HTTPStatus.UNPROCESSABLE_ENTITY),
        (TemporaryError, HTTPStatus.SERVICE_UNAVAILABLE),
        (BadDataError, HTTPStatus.INTERNAL_SERVER_ERROR),  # a file of the workspace is damaged, not the request
    )
    return next((status for kind, status in table if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def add_handlers(app: FastAPI) -> None:
    """Make every error of an app a problem document."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(SatsegError, _satseg)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(OSError, _file)
    app.add_exception_handler(Exception, _unexpected)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem_response(error.status, error.detail, error.headers)


async def _satseg(request: Request, error: Exception) -> Response:
    assert isinstance(error, SatsegError)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.retry_helps else None
    return problem_response(status_of(error), str(error), headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(error.status_code, str(error.detail), error.headers)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldProblem(
            field=".".join(str(part) for part in entry["loc"][1:]) or str(entry["loc"][0]), message=entry["msg"]
        )
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry.field}: {entry.message}" for entry in errors)
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


async def _file(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    log.error("satseg: %s %s failed", request.method, request.url.path, exc_info=error)
    if is_full(error):
        return problem_response(HTTPStatus.INSUFFICIENT_STORAGE, "The server's disk is full.")
    words = f"The server could not read or write what this needs: {error}"
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, words)


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because no room is left for it."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("satseg: %s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Something unexpected went wrong; the server's log tells."
    )
