"""`python stage_worker.py STAGE WORD…`: a worker process that runs one stage in a container and says how it ended."""

import sys

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg_airflow.runners import End, Job, TaskKey, runner_for

TASK = TaskKey("tiny.model_training", "manual__1", "train", -1)


def run(stage: str, *words: str, task: TaskKey = TASK) -> tuple[End, list[str]]:
    """Run a stage as the stage operator does; returns its end and its lines."""
    scratch = Workspace(settings().workspace).scratch / f"{stage}-{task.run_id}"
    scratch.mkdir(mode=0o700, parents=True)
    lines: list[str] = []
    return runner_for(settings().runner).run(Job(stage, list(words), scratch, task), lines.append), lines


if __name__ == "__main__":
    end, lines = run(sys.argv[1], *sys.argv[2:])
    print(end, *lines, sep="\n")
    sys.exit(end.code != 0)
