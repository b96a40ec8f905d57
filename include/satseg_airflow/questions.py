"""How sensors and triggers ask satseg something, in a process of its own, and what they make of the answer."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from satseg.errors import ExitCode
from satseg.stages import STAGES
from satseg_airflow.runners import stage_environment

ANSWER_WITHIN_S = 120


def question(stage: str, project: str, *arguments: str) -> list[str]:
    """Return the command that asks."""
    return [sys.executable, "-m", "satseg", *STAGES[stage].command, *arguments, "--project", project, "--json"]


def ask(command: Sequence[str]) -> dict[str, Any]:
    """Ask and wait for the answer; for sensors."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ANSWER_WITHIN_S,
        env=stage_environment(),
        check=False,
    )
    return read_answer(command, done.returncode, done.stdout, done.stderr)


async def ask_meanwhile(command: Sequence[str]) -> dict[str, Any]:
    """Ask without blocking the triggerer; the process ends with the question."""
    process = await asyncio.create_subprocess_exec(
        *command,
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
    return read_answer(command, process.returncode, stdout.decode(), stderr.decode())


def read_answer(command: Sequence[str], code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Turn the process's end into an event.

    Returns:
        {"status": the result} or {"error": words, "code": exit code, "retry": whether it can help, "asked": command}.
    """
    if code in {ExitCode.DONE, ExitCode.DECIDED_AGAINST} and stdout.strip():
        return {"status": json.loads(stdout.strip().splitlines()[-1])}
    errors = [line for line in stderr.splitlines() if line.startswith("error:")] or stderr.splitlines() or ["no output"]
    hopeless = code in {ExitCode.USAGE, ExitCode.BAD_DATA}
    words = errors[-1].removeprefix("error:").strip()
    return {"error": words, "code": code, "retry": not hopeless, "asked": " ".join(["satseg", *command[3:5]])}


def status_of(event: dict[str, Any] | None) -> dict[str, Any]:
    """Return the answer of an event.

    Raises:
        AirflowFailException: the question failed and asking again cannot help.
        AirflowException: it failed for now.
    """
    event = event or {}
    if "error" in event:
        kind = AirflowException if event.get("retry") else AirflowFailException
        raise kind(f"`{event['asked']}` ended with exit code {event['code']}: {event['error']}")
    status: dict[str, Any] = event["status"]
    return status
