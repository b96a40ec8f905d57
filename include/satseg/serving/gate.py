"""What every request passes: its id, access, how many there may be, and the figures about it."""

import re
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from satseg.errors import SatsegError
from satseg.serving.answers import problem_json
from satseg.serving.keys import Keys, is_loopback
from satseg.serving.metrics import Metrics
from satseg.serving.problems import RequestRefused, UnknownHostError, status_of

OPEN_PATHS = {"/healthz", "/readyz"}
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROBLEM = b"application/problem+json"


class Gate:
    """ASGI middleware around the whole application; it also answers what nobody expected, without its traceback."""

    def __init__(
        self, app: ASGIApp, keys: Keys, metrics: Metrics, paths: Iterable[str], log: Callable[[str], None]
    ) -> None:
        """Wrap an application.

        Args:
            app: to wrap.
            keys: that open it.
            metrics: to add to.
            paths: known ones; others are counted together.
            log: called with a line per request that failed.
        """
        self._app, self._keys, self._metrics, self._paths, self._log = app, keys, metrics, frozenset(paths), log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        path = scope["path"] if scope["path"] in self._paths else "other"
        try:
            self._admit(path, headers)
            await self._app(scope, receive, answer)
        except RequestRefused as error:
            await send_problem(answer, error, request_id)
        except Exception:  # noqa: BLE001 - the last boundary before the server; it is answered already
            self._log(f"request {request_id} failed unexpectedly:\n{traceback.format_exc()}")
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
            if status == 500:
                self._log(f"request {request_id}: {scope['method']} {path} ended with {status}")

    def _admit(self, path: str, headers: Headers) -> None:
        if path in OPEN_PATHS:
            return
        self._keys.check(headers)
        if not self._keys:
            # a page of another site must not reach a service without keys through its reader's browser
            host = re.sub(r":\d+$", "", headers.get("host", "localhost"))
            if not is_loopback(host):
                raise UnknownHostError(
                    f"Host {host[:100]!r} is not this machine; without API keys others are not served."
                )


async def send_problem(send: Callable[[Message], Any], error: Exception, request_id: str) -> None:
    """Send an error as application/problem+json."""
    status = status_of(error)
    told = (
        str(error) if isinstance(error, SatsegError) else "Something unexpected happened; the log names this request."
    )
    body = problem_json(status, status.phrase, told, request_id)
    extra = error.headers if isinstance(error, RequestRefused) else {}
    headers = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
    headers += [(b"content-type", PROBLEM), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
