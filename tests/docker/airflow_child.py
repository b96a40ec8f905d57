"""`python airflow_child.py WORKSPACE PROJECTS`: an Airflow that prints its address and runs until stdin ends."""

import sys
from pathlib import Path

from satseg.progress import say
from satseg.storage.layout import Workspace
from satseg_airflow.embedded.airflow import running_airflow
from satseg_airflow.embedded.environment import Home

if __name__ == "__main__":
    with running_airflow(Home(Workspace(Path(sys.argv[1])), Path(sys.argv[2])), say) as airflow:
        print(airflow.url, flush=True)
        sys.stdin.read()
