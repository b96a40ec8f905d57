"""Waits in the triggerer until annotators have labelled the windows they were asked for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg_airflow.questions import ask_meanwhile, question
from satseg_airflow.triggers.drift import LEAST_WAIT_S


def labels_question(project: str, request: str) -> list[str]:
    """Return the command that brings home what annotators have checked, and says which windows still wait."""
    return question("select", project, "--collect", request)


def last_change(project: str, request: str) -> tuple[int, ...]:
    """Return something that differs once a file of the request was saved or removed."""
    folder: Path = Workspace(settings().workspace).selection(project, request)
    return tuple(sorted(path.stat().st_mtime_ns for path in folder.glob("*.json")))


class LabelTrigger(BaseTrigger):
    """Fires when no window of a selection waits for annotators, or at `until`, with the answer of `satseg select`.

    Looks every `poke_interval` seconds and asks only after a file has changed, or when the time is over.
    """

    def __init__(self, project: str, request: str, until: str, poke_interval: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.project = project
        self.request = request
        self.until = until
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`; `until` is a point in time, so that a restart does not begin the wait anew."""
        names = ("project", "request", "until", "poke_interval")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until all is labelled; looking happens in a thread, asking in a process."""
        seen: tuple[int, ...] | None = None
        while True:
            await asyncio.sleep(max(self.poke_interval, LEAST_WAIT_S))
            over = datetime.now(UTC) >= datetime.fromisoformat(self.until)
            now = await asyncio.to_thread(last_change, self.project, self.request)
            if now == seen and not over:
                continue
            seen = now
            answer = await ask_meanwhile(labels_question(self.project, self.request))
            if over or ("status" in answer and not answer["status"]["waiting"]):
                yield TriggerEvent(answer)  # type: ignore[no-untyped-call]
                return
            if "error" in answer:
                self.log.warning("%s", answer["error"])
