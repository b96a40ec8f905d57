"""Waits in the triggerer until the report of a night is there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg_airflow.questions import ask_meanwhile, question

# an answer within the first moments would meet the task still on its way out of its worker (LocalExecutor)
LEAST_WAIT_S = 2.0


def status_question(project: str, night: str) -> list[str]:
    """Return the command that asks whether drift is confirmed up to a night."""
    return question("drift-status", project, "--night", night)


def report_exists(project: str, night: str) -> bool:
    """Whether the night has been tested; before that there is nothing to ask."""
    return (Workspace(settings().workspace).drift_night(project, night) / "report.json").is_file()


class DriftTrigger(BaseTrigger):
    """Looks every `poke_interval` seconds; once the report is there, fires with the answer of `satseg drift status`."""

    def __init__(self, project: str, night: str, poke_interval: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.project = project
        self.night = night
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {"project": self.project, "night": self.night, "poke_interval": self.poke_interval}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the report is there; looking happens in a thread, asking in a process."""
        while True:
            await asyncio.sleep(max(self.poke_interval, LEAST_WAIT_S))
            if await asyncio.to_thread(report_exists, self.project, self.night):
                answer = await ask_meanwhile(status_question(self.project, self.night))
                yield TriggerEvent(answer)  # type: ignore[no-untyped-call]
                return
