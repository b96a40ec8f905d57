"""What a client is told when a request cannot be answered: one table from error to HTTP status (RFC 9457)."""

from http import HTTPStatus

from satseg.errors import BadDataError, TemporaryError


class RequestRefused(BadDataError):  # noqa: N818 - a decision about a request
    """A request that is not worked on; `status` says why in HTTP's words."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class NoImageError(RequestRefused):
    """The body is something else than an image the service reads."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class ImageTooLargeError(RequestRefused):
    """Body or image are larger than the service takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotAcceptableError(RequestRefused):
    """None of the formats the client accepts is made here."""

    status = HTTPStatus.NOT_ACCEPTABLE


class SlowBodyError(RequestRefused):
    """The client did not send its body in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class NoAccessError(RequestRefused):
    """No key, or a wrong one."""

    status = HTTPStatus.UNAUTHORIZED


class UnknownHostError(RequestRefused):
    """The request is addressed to another machine."""

    status = HTTPStatus.MISDIRECTED_REQUEST


class BusyError(RequestRefused):
    """Too many requests are waiting."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class NotReadyError(RequestRefused):
    """There is no model to answer with yet, or the service is stopping."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def status_of(error: Exception) -> HTTPStatus:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestRefused):
        return error.status
    if isinstance(error, BadDataError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, TemporaryError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR
