"""Runs a stage in a Docker container: the same command, the same result file, the same exit codes."""

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from satseg.config.settings import Settings, settings
from satseg.errors import SatsegError
from satseg_airflow.containers.engine import BROKEN, connected, explained
from satseg_airflow.containers.guard import guarded
from satseg_airflow.containers.labels import SCRATCH, labels_of
from satseg_airflow.containers.life import alive
from satseg_airflow.containers.memory import memory_advice
from satseg_airflow.containers.operator import StageContainer
from satseg_airflow.containers.orphans import labelled, remove, remove_orphans
from satseg_airflow.containers.place import Place, place_of
from satseg_airflow.runners import End, Job

# Airflow gives a task 5 s between SIGTERM and SIGKILL; the guard takes over what is not done by then
STOP_GRACE_S = 2
BY_SIGNAL = 128


class DockerRunner:
    """Runs the stage in a container that lives no longer than this process."""

    def __init__(self) -> None:
        self._where = settings()
        self._job: Job | None = None
        self._stopped = False

    def run(self, job: Job, on_line: Callable[[str], None]) -> End:
        """See `Runner.run`.

        Raises:
            SatsegError: the engine does not answer or refuses; a setting is wrong.
        """
        where, self._job = self._where, job
        place = place_of(job, where)
        with explained(where.docker_url, place.image), alive(job.scratch), guarded(where.docker_url, job.scratch):
            with connected(where.docker_url) as engine:
                remove_orphans(engine, where, on_line, starting=job.task)
            container = _container(job, place, where, on_line)
            try:
                state = container.run_to_end()
            except BROKEN:
                if not self._stopped:  # otherwise it was taken away under us
                    raise
                return End(-signal.SIGTERM)
            finally:
                self._remove()
        return _end(state, job.stage, place)

    def stop(self) -> None:
        """See `Runner.stop`."""
        self._stopped = True
        self._remove(STOP_GRACE_S)

    def _remove(self, grace_s: int = 0) -> None:
        if self._job is None:
            return
        # a connection of its own: `stop` may run in a signal handler, in the midst of a call on the other
        with suppress(SatsegError, *BROKEN), connected(self._where.docker_url) as engine:
            for container in labelled(engine, {SCRATCH: self._job.scratch.name}):
                with suppress(*BROKEN):
                    if grace_s:
                        engine.stop(container["Id"], timeout=grace_s)
                    remove(engine, container["Id"])


def _container(job: Job, place: Place, where: Settings, on_line: Callable[[str], None]) -> StageContainer:
    return StageContainer(
        place=place,
        words=job.words,
        labels=labels_of(job, where),
        url=where.docker_url,
        conn_id=where.docker_conn_id,
        network=where.docker_network,
        on_line=on_line,
    )


def _end(state: dict[str, Any], stage: str, place: Place) -> End:
    code = int(state["ExitCode"])
    if code == BY_SIGNAL + signal.SIGKILL and state.get("OOMKilled") and place.memory_bytes:
        return End(code, memory_advice(stage, place.memory_bytes))
    return End(BY_SIGNAL - code if BY_SIGNAL < code <= BY_SIGNAL + signal.NSIG else code)
