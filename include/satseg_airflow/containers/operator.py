"""The one place that knows Airflow's DockerOperator and its 47 arguments."""

import inspect
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException

from docker import APIClient
from satseg_airflow.containers.place import Place

CPU_SHARES = 1.0  # of 1024: what a container has by default; the limit is in nano_cpus
LOG_SIZE, LOG_FILES = "50m", "2"  # the task log has every line; the engine need not keep them all


class StageContainer(DockerOperator):
    """Runs one container from image to exit code; it is removed by who made it, because the exit code outlives it.

    Args:
        place: What the container sees.
        words: Arguments for the image's program.
        labels: Its labels.
        url: Of the engine.
        conn_id: Airflow connection with the registry's login.
        network: Network of the engine; None for its bridge.
        on_line: Gets every line of the output.
    """

    def __init__(
        self,
        *,
        place: Place,
        words: list[str],
        labels: dict[str, str],
        url: str,
        conn_id: str | None,
        network: str | None,
        on_line: Callable[[str], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(
            task_id="container",
            image=place.image,
            command=words,
            labels=labels,
            docker_url=url,
            docker_conn_id=conn_id,
            network_mode=network,
            mounts=place.mounts,
            mount_tmp_dir=False,
            private_environment=place.environment,
            user=place.user,
            mem_limit=place.memory_bytes,
            cpus=CPU_SHARES,
            shm_size=place.shm_bytes,
            device_requests=place.devices or None,
            log_opts_max_size=LOG_SIZE,
            log_opts_max_file=LOG_FILES,
            auto_remove="never",
            **kwargs,
        )
        self._place = place
        self._ear = _Ear(on_line)

    @property
    def log(self) -> Any:
        """What the operator says and the container prints goes to the task's log through `on_line`."""
        return self._ear

    @cached_property
    def cli(self) -> APIClient:
        """The engine, told to limit containers in ways that DockerOperator has no arguments for."""
        client = self.hook.api_client
        client.create_host_config = partial(
            client.create_host_config,
            init=True,  # reaps what a stage's children leave and hands signals on
            nano_cpus=round(self._place.cpus * 1e9) if self._place.cpus else None,
            memswap_limit=self._place.memory_bytes,  # no swap: a training that swaps never ends
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )
        return client

    def run_to_end(self) -> dict[str, Any]:
        """Run the container and return its state as `docker inspect` shows it."""
        try:
            # unwrapped: Airflow warns of operators that are run by hand inside a task, which is meant here
            inspect.unwrap(DockerOperator.execute)(self, {})
        except AirflowException:
            if self.container is None:
                raise
        state: dict[str, Any] = self.cli.inspect_container(self.container["Id"])["State"]
        return state


class _Ear:
    """Stands in for a logger."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line

    def info(self, form: str, *values: object) -> None:
        self._on_line(form % values if values else form)

    debug = warning = error = exception = info
