"""The app as Airflow mounts it: built when it is first asked.

Every component of Airflow and every task loads the plugins; only an API server that is asked needs FastAPI and what
stands behind it.
"""

import importlib
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyio import to_thread

PREFIX = "/satseg"  # where Airflow mounts it
AIRFLOW_APP = "satseg.airflow_app"  # where a request's scope keeps the app of Airflow that this one is mounted in

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class MountedApp:
    """An ASGI app that imports the real one on its first request."""

    def __init__(self) -> None:
        self._app: App | None = None
        self._building = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        scope[AIRFLOW_APP] = scope["app"]  # before the app below puts itself there
        app = self._app or await to_thread.run_sync(self._built)
        await app(scope, receive, send)

    def _built(self) -> App:
        with self._building:
            if self._app is None:
                from satseg_ui.app import create_app

                self._app = create_app()
                threading.Thread(target=_warm_up, name="satseg-imports", daemon=True).start()
            return self._app


def _warm_up() -> None:
    """Import what the first answers need, MLflow above all, while the browser still loads the page."""
    try:
        importlib.import_module("satseg.registry.overview")
        importlib.import_module("satseg.tracking.connection").mlflow_module()
        importlib.import_module("satseg.lineage.chain")
        importlib.import_module("satseg.inference.tiles")
    except Exception:  # noqa: BLE001 - whoever needs it meets the error in an answer
        return
