"""`python promotion_child.py WORKSPACE PROJECT.json VERSION [GO]`: promote a version, and say how far it is.

Prints "judged" when the gates are through (and waits for the file GO where one is given), "deciding" when the swap
begins, and the result as JSON. With VERSION "-" it reads versions from stdin and promotes each in a fork of its own,
whose process id it prints first: importing everything once is most of the time.
"""

import os
import sys
import time
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.registry import promote
from satseg.stages import PromoteSpec
from satseg.storage.layout import Workspace


def main(workspace: str, project_file: str, version: str, go: str | None = None) -> None:
    judge, swap = promote.judge, promote.swap_champion

    def judged(*args):
        judgement = judge(*args)
        print("judged", flush=True)
        while go is not None and not Path(go).exists():
            time.sleep(0.02)
        return judgement

    def swapped(*args, **kwargs):
        print("deciding", flush=True)
        swap(*args, **kwargs)

    promote.judge, promote.swap_champion = judged, swapped
    project = ProjectConfig.model_validate_json(Path(project_file).read_text())
    result = promote.run(PromoteSpec(project=project, version=version), Workspace(Path(workspace)))
    print(result.model_dump_json(), flush=True)


def serve(workspace: str, project_file: str) -> None:
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - what a fork would have to import
    import pandas as pd  # noqa: F401

    for line in sys.stdin:
        if line.strip() == "none":  # whoever asks knows now that the fork before has ended
            print("end of none", flush=True)
            continue
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            main(workspace, project_file, line.strip())
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    if sys.argv[3] == "-":
        serve(*sys.argv[1:3])
    else:
        main(*sys.argv[1:])
