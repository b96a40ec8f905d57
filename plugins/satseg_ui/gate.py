"""In front of every route: the login, the origin of writes, the size of a body. No route can be forgotten."""

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from airflow.configuration import conf
from starlette.exceptions import HTTPException
from starlette.requests import Request

from satseg_ui.mounted import App, Receive, Scope, Send
from satseg_ui.problems import Refusal, problem_response

USER = "satseg_user"  # in a request's state
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
MAX_BODY_BYTES = 2**20  # of everything but uploads, which count themselves
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; object-src 'none'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cache-control": b"no-cache",
}


class Gate:
    """Lets a request through to the app that somebody logged in sends, from this server's own pages or with a token."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            token = await bearer_scheme(request)
            user = await get_user(request, None, token)
            if token is None and request.method not in SAFE_METHODS:
                check_origin(request)
            receive = _limited(request, receive)
        except HTTPException as error:
            refused = problem_response(error.status_code, str(error.detail), error.headers)
            await refused(scope, receive, _with_headers(send))
            return
        except Refusal as error:
            await problem_response(error.status, error.detail, error.headers)(scope, receive, _with_headers(send))
            return
        scope.setdefault("state", {})[USER] = user
        await self._app(scope, receive, _with_headers(send))


def check_origin(request: Request) -> None:
    """Let a write by cookie through only when a page of this server sends it: Airflow has no such check for plugins.

    One with a token in its header needs no check, because no foreign page can know the token.

    Raises:
        Refusal: the request comes from elsewhere, or does not say from where.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    same_site = site in {None, "same-origin"}
    if same_site and (_is_own(request, origin) if origin else site == "same-origin"):
        return
    raise Refusal(
        HTTPStatus.FORBIDDEN,
        f"A write with the login cookie has to come from a page of this server (Origin: {origin or 'none'}). "
        "Scripts send a token: Authorization: Bearer …",
    )


def _is_own(request: Request, origin: str) -> bool:
    own = {request.headers.get("host", "").lower(), urlsplit(conf.get("api", "base_url", fallback="")).netloc.lower()}
    return urlsplit(origin).netloc.lower() in own - {""}


def _limited(request: Request, receive: Receive) -> Receive:
    """Return a `receive` that gives no more than a body may be long; a longer one is refused before it is read."""
    if request.method == "PUT":
        return receive
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no number.")
    too_large = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES} bytes.")
    if int(announced) > MAX_BODY_BYTES:
        raise too_large
    left = MAX_BODY_BYTES

    async def counted() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            extra = [(name, value) for name, value in HEADERS.items() if name not in given]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return sending
