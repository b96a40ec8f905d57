"""What satseg's plugin costs Airflow's API server, and how long its page waits for data.

    python benchmarks/plugin.py [--projects 50] [--folder DIR]

Two API servers run on the same database and workspace, one without plugins: Airflow's own addresses are asked in turn
on both. Bars: Airflow's own addresses take at most 1.10 times as long (median of the ratios of medians), the server
with the plugin is less than 300 MB larger after every list was read, and the requests of a page come back within 2 s
for each of ten projects, asked six at a time as a browser does.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from api_server import ROOT, ApiServer, api_server, prepare
from plugin_world import Size, make_project
from rich.console import Console
from rich.progress import track
from rich.table import Table

from satseg.storage.layout import Workspace
from satseg_airflow.embedded.environment import Home

MOST_TIMES, MOST_MB, MOST_S = 1.10, 300.0, 2.0
PAGES, CONNECTIONS = 10, 6
SIZE = Size(versions=10, scenes=10, models=4, nights=60, predictions=40)
OF_AIRFLOW = (
    "/",
    "/api/v2/version",
    "/api/v2/monitor/health",
    "/api/v2/dags?limit=50",
    "/ui/dags?limit=50",
    "/api/v2/dags/{dag}/dagRuns?limit=20",
    "/ui/grid/runs/{dag}?limit=14",
    "/ui/dashboard/dag_stats",
    "/api/v2/eventLogs?limit=50",
)
OF_PAGE = (
    "/session",
    "/health",
    "/projects?limit=100",
    "/projects/{p}",
    "/projects/{p}/loop",
    "/projects/{p}/models?limit=20",
    "/projects/{p}/models/champion",
    "/projects/{p}/models/challenger",
    "/projects/{p}/dataset-versions?limit=10",
    "/projects/{p}/patch-sets?limit=5",
    "/projects/{p}/drift",
    "/projects/{p}/drift/nights?limit=30",
    "/projects/{p}/drift/trend?nights=60",
    "/projects/{p}/predictions?limit=6",
    "/projects/{p}/dag-runs?limit=20",
    "/projects/{p}/approvals",
)


def names(count: int) -> list[str]:
    """Return the names of the projects."""
    return [f"city-{number:02d}" for number in range(count)]


def asked(client: httpx.Client, url: str) -> float:
    """Return the seconds that an answer takes."""
    start = time.perf_counter()
    answer = client.get(url)
    seconds = time.perf_counter() - start
    if not answer.is_success:
        raise SystemExit(f"{url}: {answer.status_code} {answer.text[:300]}")
    return seconds


def page_seconds(client: httpx.Client, project: str) -> float:
    """Return how long all requests of a project's page take, six at a time."""
    urls = [f"/satseg/api/v1{path.format(p=project)}" for path in OF_PAGE]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda url: asked(client, url), urls):
            pass
        return time.perf_counter() - start


def side_by_side(bare: httpx.Client, full: httpx.Client, dag: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median seconds of each of Airflow's addresses, without and with the plugin."""
    urls = [url.format(dag=dag) for url in OF_AIRFLOW]
    seconds: dict[str, tuple[list[float], list[float]]] = {url: ([], []) for url in urls}
    for number, url in track(list(itertools.product(range(rounds), urls)), "Airflow's own addresses"):
        order = ((bare, 0), (full, 1)) if number % 2 else ((full, 1), (bare, 0))
        for client, which in order:
            seconds[url][which].append(asked(client, url))
    return {url: (statistics.median(both[0]), statistics.median(both[1])) for url, both in seconds.items()}


def measure(bare: ApiServer, full: ApiServer, projects: list[str], rounds: int) -> bool:
    """Print the tables; returns whether all bars are met."""
    with bare.client("admin") as without, full.client("admin") as with_plugin:
        first = page_seconds(with_plugin, projects[0])
        used = full.processor_s()
        pages = [page_seconds(with_plugin, project) for project in track(projects[1 : PAGES + 1], "pages")]
        used = (full.processor_s() - used) / len(pages)
        again = page_seconds(with_plugin, projects[1])
        medians = side_by_side(without, with_plugin, f"{projects[0]}.model_training", rounds)
    growth = (full.memory_bytes() - bare.memory_bytes()) / 1e6
    table = Table("address", "without ms", "with ms", "ratio", title="Airflow's own addresses")
    ratios = [both[1] / both[0] for both in medians.values()]
    for (url, (one, other)), ratio in zip(medians.items(), ratios, strict=True):
        table.add_row(url, f"{1000 * one:.1f}", f"{1000 * other:.1f}", f"{ratio:.2f}")
    Console().print(table)
    bars = Table("what", "figure", "bar", "met", title=f"satseg's plugin, {len(projects)} projects")
    met = []

    def row(what: str, figure: str, bar: str, good: Callable[[], bool] | None = None) -> None:
        if good is not None:
            met.append(good())
        bars.add_row(what, figure, bar, "" if good is None else "yes" if met[-1] else "NO")

    ratio = statistics.median(ratios)
    row("Airflow's addresses, times", f"{ratio:.2f}", f"≤ {MOST_TIMES:.2f}", lambda: ratio <= MOST_TIMES)
    row("memory of the API server, more", f"{growth:.0f} MB", f"< {MOST_MB:.0f} MB", lambda: growth < MOST_MB)
    row(
        f"a page's {len(OF_PAGE)} requests, slowest of {len(pages)} projects, each for the first time",
        f"{max(pages):.2f} s",
        f"< {MOST_S:.0f} s",
        lambda: max(pages) < MOST_S,
    )
    row("a page for the first time, median", f"{statistics.median(pages):.2f} s", "")
    row("a page for the first time, processor time of the server, mean", f"{used:.2f} s", "")
    row("a page again", f"{again:.2f} s", "")
    row("the very first page after the server's start, with imports", f"{first:.2f} s", "")
    Console().print(bars)
    return all(met)


def made_world(folder: Path, count: int) -> Home:
    """Return the home of a workspace with so many projects; made when the folder has none."""
    workspace, projects = folder / "workspace", folder / "projects"
    if not (folder / "made").exists():
        for name in track(names(count), "projects"):
            make_project(projects, Workspace(workspace), name, SIZE)
        prepare(workspace, projects, runs_per_dag=10)
        (folder / "made").touch()
    return Home(Workspace(workspace), projects)


def main() -> None:
    """Make the world, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="made when missing, used as it is otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        home, empty = made_world(folder, options.projects), folder / "no-plugins"
        empty.mkdir(exist_ok=True)
        with (
            api_server(home, empty, folder / "bare.log") as bare,
            api_server(home, ROOT / "plugins", folder / "full.log") as full,
        ):
            met = measure(bare, full, names(options.projects), options.rounds)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
