"""Waits in the triggerer until the report of a night is there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from satseg_airflow.drift_status import read_answer, report_exists, status_command
from satseg_airflow.runners import stage_environment

# an answer within the first moments would meet the task still on its way out of its worker (LocalExecutor)
LEAST_WAIT_S = 2.0


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
                yield TriggerEvent(await self._ask())  # type: ignore[no-untyped-call]
                return

    async def _ask(self) -> dict[str, Any]:
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
        return read_answer(process.returncode, stdout.decode(), stderr.decode())
