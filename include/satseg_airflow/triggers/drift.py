"""Waits in the triggerer until the report of a night is there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from satseg_airflow.drift_status import read_answer, status_command
from satseg_airflow.runners import stage_environment

# an answer within the first moments would meet the task still on its way out of its worker (LocalExecutor)
LEAST_WAIT_S = 2.0


class DriftTrigger(BaseTrigger):
    """Asks `satseg drift status` every `poke_interval` seconds and fires once with its answer."""

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
        """Ask until there is an answer; the question runs in a process of its own."""
        while True:
            await asyncio.sleep(max(self.poke_interval, LEAST_WAIT_S))
            event = await self._ask()
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return

    async def _ask(self) -> dict[str, Any] | None:
        process = await asyncio.create_subprocess_exec(
            *status_command(self.project, self.night),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=stage_environment(),
        )
        try:
            stdout, stderr = await process.communicate()
        except asyncio.CancelledError:  # the triggerer shuts down or the task was cleared
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return read_answer(self.night, process.returncode, stdout.decode(), stderr.decode())
