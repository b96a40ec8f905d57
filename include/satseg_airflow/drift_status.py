"""How sensor and trigger ask `satseg drift status`, and what they make of the answer."""

import json
import sys
from typing import Any

from satseg.errors import ExitCode
from satseg.stages import STAGES


def status_command(project: str, night: str) -> list[str]:
    """Return the command that asks whether drift is confirmed up to a night."""
    words = STAGES["drift-status"].command
    return [sys.executable, "-m", "satseg", *words, "--night", night, "--project", project, "--json"]


def read_answer(night: str, code: int, stdout: str, stderr: str) -> dict[str, Any] | None:
    """Turn the process's end into an event, None when the night has no report yet.

    Returns:
        {"status": DriftStatusResult as dict} or {"error": words, "code": exit code, "retry": whether it can help}.
    """
    if code in {ExitCode.DONE, ExitCode.DECIDED_AGAINST} and stdout.strip():
        status: dict[str, Any] = json.loads(stdout.strip().splitlines()[-1])
        return {"status": status} if night in status["nights"] else None
    errors = [line for line in stderr.splitlines() if line.startswith("error:")] or stderr.splitlines() or ["no output"]
    hopeless = code in {ExitCode.USAGE, ExitCode.BAD_DATA}
    return {"error": errors[-1].removeprefix("error:").strip(), "code": code, "retry": not hopeless}


def exit_message(event: dict[str, Any]) -> str:
    """Return the words for a failed question."""
    return f"`satseg drift status` ended with exit code {event['code']}: {event['error']}"
