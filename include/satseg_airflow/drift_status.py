"""How sensor and trigger ask `satseg drift status`, and what they make of the answer."""

import json
import sys
from typing import Any

from satseg.config.settings import settings
from satseg.errors import ExitCode
from satseg.stages import STAGES
from satseg.storage.layout import Workspace


def status_command(project: str, night: str) -> list[str]:
    """Return the command that asks whether drift is confirmed up to a night."""
    words = STAGES["drift-status"].command
    return [sys.executable, "-m", "satseg", *words, "--night", night, "--project", project, "--json"]


def report_exists(project: str, night: str) -> bool:
    """Whether the night has been tested; before that there is nothing to ask."""
    return (Workspace(settings().workspace).drift_night(project, night) / "report.json").is_file()


def read_answer(code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Turn the process's end into an event.

    Returns:
        {"status": DriftStatusResult as dict} or {"error": words, "code": exit code, "retry": whether it can help}.
    """
    if code in {ExitCode.DONE, ExitCode.DECIDED_AGAINST} and stdout.strip():
        return {"status": json.loads(stdout.strip().splitlines()[-1])}
    errors = [line for line in stderr.splitlines() if line.startswith("error:")] or stderr.splitlines() or ["no output"]
    hopeless = code in {ExitCode.USAGE, ExitCode.BAD_DATA}
    return {"error": errors[-1].removeprefix("error:").strip(), "code": code, "retry": not hopeless}


def exit_message(event: dict[str, Any]) -> str:
    """Return the words for a failed question."""
    return f"`satseg drift status` ended with exit code {event['code']}: {event['error']}"
