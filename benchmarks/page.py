"""How long the page takes to stand, with 50 projects' worth of versions, models, nights and predictions.

    python benchmarks/page.py [--projects N] [--loads N] [--workspace DIR]

Makes the workspace (kept when --workspace names one, and used again), starts a real Airflow on it, logs a real browser
in and opens one project's page: from the address to the last panel drawn and the tiles of the map loaded. Beside it
Airflow's own list of DAGs in the same browser, in turn. Bar: the median is below 2 s on 2 idle cores.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from satseg.progress import say
from satseg.storage.layout import Workspace
from satseg_airflow.embedded.airflow import EmbeddedAirflow, running_airflow
from satseg_airflow.embedded.environment import ROOT, Home

sys.path.insert(0, str(ROOT / "tests"))
from plugin_world import Size, make_project

from browser import Person, chromium

SIZE = Size(versions=10, scenes=10, models=5, nights=30, predictions=20)
MOST_S = 2.0
DRAWN = """() => document.querySelector("section#loop") && !document.querySelector("[aria-busy=true], .loading")
  && document.querySelector(".tiles img")
  && [...document.querySelectorAll(".tiles img")].every((tile) => tile.complete)"""
DAGS_WITHIN_S = 900.0


def make_world(root: Path, projects: int) -> Home:
    """Make what is missing of the projects."""
    workspace, folder = Workspace(root / "workspace"), root / "projects"
    for number in range(projects):
        name = f"product{number:02}"
        if (root / f"{name}.done").is_file():
            continue
        say(f"Making {name} ...")
        make_project(folder, workspace, name, SIZE)
        (root / f"{name}.done").touch()
    return Home(workspace, folder)


def wait_for_dags(airflow: EmbeddedAirflow, project: str) -> None:
    """Wait until Airflow has read a project's DAGs."""
    deadline = time.monotonic() + DAGS_WITHIN_S
    with airflow.api() as api:
        while not api.dag_ids(project):
            if time.monotonic() > deadline:
                raise SystemExit(f"Airflow did not read the DAGs of {project} within {DAGS_WITHIN_S:.0f} s.")
            time.sleep(2)


def load_page(browser: Any, airflow: EmbeddedAirflow, home: Home, project: str) -> tuple[float, int]:
    """Return the seconds to the last panel, in a browser that has seen nothing yet, and the requests it took."""
    person = Person(browser, airflow.url, "admin")
    person.log_in(home.passwords()["admin"])
    requests: list[str] = []
    person.page.on("request", lambda sent: requests.append(sent.url))
    person.page.goto(f"{airflow.url}/satseg/page/#{project}", wait_until="commit")
    person.page.wait_for_function(DRAWN)
    taken = float(person.page.evaluate("performance.now()")) / 1000
    person.close()
    return taken, len(requests)


def load_dags(browser: Any, airflow: EmbeddedAirflow, home: Home) -> float:
    """Return the seconds to Airflow's own list of DAGs."""
    person = Person(browser, airflow.url, "admin")
    person.log_in(home.passwords()["admin"])
    person.page.goto(f"{airflow.url}/dags", wait_until="commit")
    person.page.get_by_text("product").first.wait_for()
    taken = float(person.page.evaluate("performance.now()")) / 1000
    person.close()
    return taken


def measure(home: Home, project: str, loads: int) -> tuple[list[float], list[float], int]:
    """Return the seconds of the page and of Airflow's own, taken in turn, and the requests of one load."""
    with running_airflow(home, say) as airflow, chromium() as browser:
        wait_for_dags(airflow, project)
        load_page(browser, airflow, home, project)  # the server imports MLflow and rasterio at the first request
        pages, own, requests = [], [], 0
        for number in range(loads):
            say(f"Load {number + 1} of {loads} ...")
            taken, requests = load_page(browser, airflow, home, project)
            pages.append(taken)
            own.append(load_dags(browser, airflow, home))
    return pages, own, requests


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--loads", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="kept; a temporary folder otherwise")
    options = parser.parse_args()
    root = options.workspace or Path(tempfile.mkdtemp(prefix="satseg-page-"))
    try:
        root.mkdir(parents=True, exist_ok=True)
        home = make_world(root, options.projects)
        pages, own, requests = measure(home, f"product{options.projects // 2:02}", options.loads)
    finally:
        if options.workspace is None:
            shutil.rmtree(root, ignore_errors=True)
    page, beside = statistics.median(pages), statistics.median(own)
    table = Table("what", "median s", "least s", "most s", "bar", "met")
    met = page < MOST_S
    row = (f"{page:.2f}", f"{min(pages):.2f}", f"{max(pages):.2f}", f"< {MOST_S:g} s", "yes" if met else "NO")
    table.add_row(f"the page, {options.projects} projects, {requests} requests", *row)
    table.add_row("Airflow's own list of DAGs", f"{beside:.2f}", f"{min(own):.2f}", f"{max(own):.2f}", "", "")
    table.add_row("ratio", f"{page / beside:.2f}", "", "", "", "")
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
