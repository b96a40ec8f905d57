"""How long the page takes to stand, with 50 projects' worth of versions, models, nights and predictions.

    python benchmarks/page.py [--projects 50] [--loads 7] [--folder DIR]

A real API server of Airflow and a real browser, logged in, with an empty cache for each load of another project: from
the address to the last panel drawn and the tiles of the map loaded. In turn with it Airflow's own list of DAGs, as a
measure of what else the machine does. Bar: the median is below 2 s on 2 idle cores.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from api_server import ROOT, ApiServer, api_server
from plugin import made_world, names
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(ROOT / "tests"))
from browser import Person, chromium

MOST_S = 2.0
DRAWN = """() => document.querySelector("section#loop") && !document.querySelector("[aria-busy=true], .loading")
  && document.querySelector(".tiles img")
  && [...document.querySelectorAll(".tiles img")].every((tile) => tile.complete)"""


def somebody(browser: Any, server: ApiServer) -> Person:
    """Return an admin whose browser has seen nothing yet."""
    with server.client("admin") as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
    person = Person(browser, server.url, "admin")
    person.take_login(token)
    return person


def page_load(browser: Any, server: ApiServer, project: str) -> tuple[float, int]:
    """Return the seconds to the last panel, and the requests it took."""
    person = somebody(browser, server)
    requests: list[str] = []
    person.page.on("request", lambda sent: requests.append(sent.url))
    person.page.goto(f"{server.url}/satseg/page/#{project}", wait_until="commit")
    person.page.wait_for_function(DRAWN)
    taken = float(person.page.evaluate("() => performance.now()")) / 1000
    person.close()
    return taken, len(requests)


def dags_load(browser: Any, server: ApiServer) -> float:
    """Return the seconds to Airflow's own list of DAGs."""
    person = somebody(browser, server)
    person.page.goto(f"{server.url}/dags", wait_until="commit")
    person.page.get_by_text("city-").first.wait_for()
    taken = float(person.page.evaluate("() => performance.now()")) / 1000
    person.close()
    return taken


def measure(browser: Any, server: ApiServer, projects: list[str]) -> bool:
    """Print the table; returns whether the bar is met."""
    first, requests = page_load(browser, server, projects[0])  # the server imports MLflow and rasterio meanwhile
    pages, own = [], []
    for project in track(projects[1:], "loads"):
        pages.append(page_load(browser, server, project)[0])
        own.append(dags_load(browser, server))
    page, beside = statistics.median(pages), statistics.median(own)
    table = Table("what", "figure", "bar", "met", title=f"the page: {requests} requests, {len(pages)} loads")
    spread = f"median {page:.2f} s ({min(pages):.2f} to {max(pages):.2f})"
    table.add_row("the page of a project", spread, f"< {MOST_S:g} s", "yes" if page < MOST_S else "NO")
    table.add_row("Airflow's own list of DAGs", f"median {beside:.2f} s ({min(own):.2f} to {max(own):.2f})", "", "")
    table.add_row("ratio", f"{page / beside:.2f}", "", "")
    table.add_row("the very first page after the server's start, with imports", f"{first:.2f} s", "", "")
    Console(width=120).print(table)
    return page < MOST_S


def main() -> None:
    """Make the world, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--loads", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="made when missing; that of plugin.py fits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        home = made_world(folder, options.projects)
        with api_server(home, ROOT / "plugins", folder / "page.log") as server, chromium() as browser:
            met = measure(browser, server, names(options.projects)[: options.loads + 1])
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
