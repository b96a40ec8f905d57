"""The app as Airflow mounts it: imported when an API server has started, or is asked.

Every component of Airflow and every task loads the plugins; only an API server needs FastAPI and what stands behind it.
"""

import importlib
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyio import to_thread

PREFIX = "/satseg"  # where Airflow mounts it
AIRFLOW_APP = "satseg.airflow_app"  # where a request's scope keeps the app of Airflow that this one is mounted in

PREPARED_AFTER_S = 5.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class MountedApp:
    """An ASGI app that imports the real one when it is needed."""

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
            return self._app

    def prepare(self) -> None:
        """Import what the first answers need, MLflow above all."""
        try:
            self._built()
            importlib.import_module("satseg.registry.overview")
            importlib.import_module("satseg.tracking.connection").mlflow_module()
            importlib.import_module("satseg.drift.status")
            importlib.import_module("satseg.lineage.chain")
            importlib.import_module("satseg.inference.tiles")
        except Exception:  # noqa: BLE001 - whoever needs it meets the error in an answer
            return


class PreparedAtStart:
    """A middleware that leaves requests alone: Airflow makes it where an API server starts, and nowhere else."""

    def __init__(self, app: App, prepare: Callable[[], None]) -> None:
        self._app = app
        timer = threading.Timer(PREPARED_AFTER_S, prepare)  # after Airflow's own start
        timer.daemon = True
        timer.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        await self._app(scope, receive, send)
