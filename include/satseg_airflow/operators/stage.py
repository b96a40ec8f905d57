"""The one operator that runs a satseg stage: a process, a result file, an exit code."""

import json
import shlex
import shutil
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from satseg.config.settings import settings
from satseg.errors import ConfigurationError, ExitCode
from satseg.stages import STAGES
from satseg.storage.devices import devices
from satseg.storage.layout import Workspace
from satseg.storage.leases import Lease, leased
from satseg_airflow.pools import GPU_POOL, GPU_QUEUE
from satseg_airflow.runners import End, Job, Runner, TaskKey, runner_for
from satseg_airflow.supervision import supervised

# the pool lets no more tasks start than there are devices: only a shell's command or an orphan is waited for
LEASE_WITHIN_S = 300.0
TRY_NUMBER_KEY = "try_number"  # XCom: which try of the task gave the result


class StageOperator(BaseOperator):
    """Run `satseg <stage> ARGUMENTS --project P --result FILE` and push the result to XCom.

    Args:
        stage: A name of `satseg.stages.STAGES`; it decides command, pool, queue and time-out.
        project: Name of the project.
        arguments: Templated. Positional ones first; an option whose value is empty is left out together with
            its value; a list repeats its option.
        scenes: Templated; scene ids (a list, or JSON), added to the arguments as the stage wants them. What mapped
            tasks expand over.

    Raises:
        AirflowSkipException: the stage decided against (exit code 4); its result is in XCom all the same.
        AirflowFailException: wrong usage or bad data (2, 3), or more memory than allowed: trying again cannot help.
        AirflowException: anything else (temporary trouble, killed): Airflow tries again.
    """

    template_fields: Sequence[str] = ("arguments", "scenes")
    template_fields_renderers = {"arguments": "json", "scenes": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#dcedc8"

    def __init__(
        self,
        *,
        stage: str,
        project: str,
        arguments: Any = (),
        scenes: Any = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**(stage_defaults(stage) | kwargs))
        self.stage = stage
        self.project = project
        self.arguments = arguments
        self.scenes = scenes
        self._runner: Runner | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the stage; see the class for the outcomes."""
        where = settings()
        workspace = Workspace(where.workspace)
        scratch = workspace.scratch / uuid.uuid4().hex[:8]
        scratch.mkdir(mode=0o700, parents=True)
        result_file = scratch / "result.json"
        words = self.words(result_file)
        self.log.info("SATSEG_WORKSPACE=%s satseg %s", shlex.quote(str(where.workspace)), shlex.join(words))
        last = _LastWords(self.log.info)
        self._runner = runner_for(where.runner)
        ti = context["ti"]
        task = TaskKey(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        try:
            with supervised(self.on_kill), self._lease(workspace) as lease:
                end = self._runner.run(Job(self.stage, words, scratch, task, lease), last.hear)
            result = json.loads(result_file.read_text(encoding="utf-8")) if result_file.exists() else None
        except ConfigurationError as error:  # a setting is wrong, or an image is missing
            raise AirflowFailException(str(error)) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        ti.xcom_push(key=TRY_NUMBER_KEY, value=ti.try_number)
        return self._outcome(end, result, last.words, context)

    def _lease(self, workspace: Workspace) -> AbstractContextManager[Lease | None]:
        """Take as many devices as the task takes slots of the pool `gpu`; none outside of it."""
        if self.pool != GPU_POOL:
            return nullcontext()
        return leased(workspace, devices(), self.pool_slots, LEASE_WITHIN_S, self.log.info)

    def on_kill(self) -> None:
        """End the stage when Airflow ends the task (mark failed, clear, shut-down, time-out)."""
        if self._runner is not None:
            self._runner.stop()

    def words(self, result_file: Path) -> list[str]:
        """Return the arguments of the program `satseg`."""
        scenes = (
            json.loads(self.scenes) if isinstance(self.scenes, str) else [str(scene) for scene in self.scenes or ()]
        )
        if self.stage != "predict":  # the one stage that takes scenes as positional arguments
            scenes = command_arguments(["--scene", scenes])
        words = [*STAGES[self.stage].command, *scenes, *command_arguments(self.arguments)]
        return [*words, "--project", self.project, "--result", str(result_file)]

    def _outcome(self, end: End, result: dict[str, Any] | None, words: str, context: Context) -> dict[str, Any]:
        code, said = end.code, words or "it said nothing"
        if end.out_of_memory:
            raise AirflowFailException(f"Stage {self.stage} ran out of memory. {end.out_of_memory}")
        if code == ExitCode.DONE and result is not None:
            return result
        if code == ExitCode.DECIDED_AGAINST:
            context["ti"].xcom_push(key="return_value", value=result)
            raise AirflowSkipException(result["message"] if result else said)
        if code in {ExitCode.USAGE, ExitCode.BAD_DATA}:
            raise AirflowFailException(f"Stage {self.stage} ended with exit code {code}: {said}")
        if code < 0:
            raise AirflowException(f"Stage {self.stage} was killed by signal {-code}. Last line: {said}")
        raise AirflowException(f"Stage {self.stage} ended with exit code {code}: {said}")


def stage_defaults(stage: str) -> dict[str, Any]:
    """Return the task settings a stage brings along; mapped tasks need them spelled out."""
    about = STAGES[stage]
    name = " ".join(about.command)
    return {
        "execution_timeout": timedelta(minutes=about.timeout_minutes),
        "doc_md": f"{about.description}\n\nThe same from a shell: `satseg {name}` (see `satseg {name} --help`).",
    } | ({"pool": GPU_POOL, "queue": GPU_QUEUE} if about.gpu else {})


def command_arguments(arguments: Sequence[Any]) -> list[str]:
    """Flatten rendered arguments.

    Positional values come first. `--option ""`, `--option None`, `--option []` and `--set key=` vanish; a list
    repeats its option for every element; flags stand before another option or at the end.
    """
    words: list[str] = []
    waiting: str | None = None  # an option whose value may come next
    for argument in arguments:
        if isinstance(argument, str) and argument.startswith("--"):
            words += [waiting] if waiting else []
            waiting = argument
            continue
        for value in argument if isinstance(argument, list | tuple) else [argument]:
            if value is None or value == "" or (waiting == "--set" and str(value).endswith("=")):
                continue
            words += [waiting, str(value)] if waiting else [str(value)]
        waiting = None
    return words + ([waiting] if waiting else [])


class _LastWords:
    """Writes each line of a stage to the task log and remembers what a person should read when it fails."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._last = ""
        self._error = ""

    def hear(self, line: str) -> None:
        self._log("%s", line)
        self._last = line
        if line.startswith("error:"):
            self._error = line.removeprefix("error:").strip()

    @property
    def words(self) -> str:
        """The last `error:` line, otherwise the last line."""
        return self._error or self._last
