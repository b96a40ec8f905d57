"""The service beside its bare engine, and under load while the champion changes.

    python benchmarks/service.py [--long [SECONDS]] [--workspace DIR --project NAME] [--engine ENGINE]

Starts a real `satseg serve` on a workspace with two versions of a LinkNet-resnet18 (made here, its weights do not
matter for time), or on a given workspace with two versions. Bars: one client, no swap: the median over HTTP is at most
20% above the bare engine's on the same decoded image, taken in turn; at half of the measured capacity, from a second
process, with three champion swaps, no request fails; a 429 counts as failed. 20 s of load, with --long 120 s.
"""

import argparse
import http.client
import io
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 512
MOST_OVERHEAD = 1.20
ROUNDS = 60
SWAPS = 3
CLIENTS = 8


@dataclass(frozen=True)
class Address:
    """Where the service listens, and what is sent to it."""

    port: int
    body: bytes

    def post(self, connection: http.client.HTTPConnection) -> tuple[int, str]:
        """Send the image; return status and the version that answered."""
        connection.request("POST", "/v1/segment", self.body, {"Accept": "image/png", "Content-Type": "image/png"})
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("X-Model-Version", "")

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)


def picture() -> tuple[np.ndarray, bytes]:
    """Return a window of real imagery where there is some, else noise, and the same as a PNG."""
    from PIL import Image

    shared = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")) / "kampala" / "ggaba_b.tif"
    if shared.is_file():
        import rasterio
        from rasterio.windows import Window

        with rasterio.open(shared) as dataset:
            pixels = dataset.read((1, 2, 3), window=Window(200, 200, SIDE_PX, SIDE_PX)).transpose(1, 2, 0)
    else:
        print(f"{shared}: no such file; noise is sent instead.", file=sys.stderr)
        pixels = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return pixels, stream.getvalue()


def make_versions(folder: Path) -> None:
    """Make a workspace with two versions of a network; the first is champion."""
    from satseg.config.training import TrainingConfig
    from satseg.models.interface import ModelDescription
    from satseg.models.keras.architectures import build_network
    from satseg.storage.layout import Workspace
    from satseg.tracking.models import create_version, set_alias
    from satseg.tracking.runs import tracked_run

    workspace = Workspace(folder)
    bands, mean, std = ("red", "green", "blue"), (120.0, 110.0, 100.0), (45.0, 40.0, 42.0)
    description = ModelDescription(
        project="buildings",
        architecture="linknet",
        backbone="resnet18",
        bands=bands,
        dtype="uint8",
        classes=("building",),
        patch_px=256,
        gsd_m=0.15,
        mean=mean,
        std=std,
        dataset_version="v1",
        patch_set="x",
    )
    for number in (1, 2):
        network = build_network(TrainingConfig(architecture="linknet", backbone="resnet18"), 3, 1, mean, std)
        files = folder / f"network-{number}"
        files.mkdir(parents=True)
        network.save(files / "model.keras")
        (files / "model.json").write_text(description.model_dump_json())
        with tracked_run(workspace, "buildings", name=str(number), tags={}, params={}) as run:
            run.log_model_files(files, description.model_dump(mode="json"), np.zeros((1, 64, 64, 3), np.uint8))
        create_version(workspace, "buildings", run.id, {}, "")
    set_alias(workspace, "buildings", "champion", "1")


def start(workspace: Path, project: str, engine: str, log: Path) -> tuple[subprocess.Popen, int]:
    """Start the service; return its process and port once it is ready."""
    environment = {
        **os.environ,
        "SATSEG_WORKSPACE": str(workspace),
        "SATSEG_SERVE_ENGINE": engine,
        "SATSEG_SERVE_WATCH_S": "1",
    }
    command = [sys.executable, "-m", "satseg", "serve", "-p", project, "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log.open("w"))
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        lines = [line for line in log.read_text().splitlines() if line.startswith("listening on")]
        if lines:
            port = int(lines[0].rpartition(":")[2])
            if "answers now" in log.read_text():
                return process, port
        time.sleep(0.2)
    raise SystemExit(f"the service did not start:\n{log.read_text()}")


def one_client(address: Address, pixels: np.ndarray, segmenter: object) -> tuple[np.ndarray, np.ndarray]:
    """Time the bare engine and a request in turn; seconds of each."""
    connection, images = address.connect(), pixels[None]
    times = []
    for round_number in range(ROUNDS + 5):
        started = time.perf_counter()
        segmenter.predict(images)
        middle = time.perf_counter()
        status, _ = address.post(connection)
        ended = time.perf_counter()
        assert status == 200
        if round_number >= 5:
            times.append((middle - started, ended - middle))
    return tuple(np.asarray(times).T)


def load(address: Address, seconds: float, rate: float | None = None, until: Path | None = None) -> dict:
    """Send requests from several threads: as fast as answers come (rate None), or at a rate whatever comes back.

    Every request is a client of its own. With `until` it goes on until that file exists. Times count from the moment a
    request was due, so that a slow service is not spared the waiting.
    """
    due: queue.Queue[float | None] = queue.Queue()
    answers: list[tuple[float, int, str]] = []
    start_time = time.perf_counter()
    ends = start_time + seconds

    def client() -> None:
        while True:
            when = due.get() if rate else time.perf_counter()
            if when is None or (not rate and when > ends):
                return
            connection = address.connect()
            try:
                status, version = address.post(connection)
            except (OSError, http.client.HTTPException) as error:
                status, version = 0, type(error).__name__
            connection.close()
            answers.append((time.perf_counter() - when, status, version))

    threads = [threading.Thread(target=client) for _ in range(4 * CLIENTS if rate else CLIENTS)]
    for thread in threads:
        thread.start()
    if rate:
        number = 0
        while (when := start_time + number / rate) < ends or (until and not until.exists()):
            time.sleep(max(0.0, when - time.perf_counter()))
            due.put(when)
            number += 1
        for _ in threads:
            due.put(None)
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start_time
    return {"answers": answers, "rate": len(answers) / elapsed}


def load_from_another_process(address: Address, seconds: float, *more: object) -> subprocess.Popen:
    """Start this file as a client of its own; see `load`."""
    command = [sys.executable, __file__, "--client", *map(str, (address.port, seconds, *more))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(address.body)
    process.stdin.close()
    return process


def answers_of(process: subprocess.Popen) -> dict:
    """Return what a client process found."""
    found = json.loads(process.stdout.read())
    if process.wait():
        raise SystemExit("the client process failed")
    return found


def swaps_seen(workspace: Path) -> int:
    """Return how often the service has changed its model."""
    return (workspace / "service.log").read_text().count("answers now") - 1


def swap_during(workspace: Path, project: str, seconds: float) -> None:
    """Move the alias three times, evenly over the time, each time when the last swap is done."""
    from satseg.storage.layout import Workspace
    from satseg.tracking.models import alias_version, set_alias, versions

    place = Workspace(workspace)
    numbers = [record.version for record in versions(place, project)][-2:]
    started = time.monotonic()
    for swap in range(1, SWAPS + 1):
        time.sleep(max(0.0, started + seconds * swap / (SWAPS + 1) - time.monotonic()))
        now = alias_version(place, project, "champion")
        set_alias(place, project, "champion", next(number for number in numbers if number != now))
        deadline = time.monotonic() + 300
        while swaps_seen(workspace) < swap and time.monotonic() < deadline:
            time.sleep(0.2)
    time.sleep(2)  # some requests after the last one


def measure(workspace: Path, project: str, engine: str, seconds: float) -> bool:
    """Run all parts and print the table; returns whether the bars are met."""
    from satseg.inference.chosen_model import choose_model
    from satseg.models.exports import EngineChoice
    from satseg.storage.layout import Workspace

    pixels, body = picture()
    process, port = start(workspace, project, engine, workspace / "service.log")
    address = Address(port, body)
    try:
        model = choose_model(Workspace(workspace), project, "champion", engine)
        bare, served = one_client(address, pixels, (model.choice or EngineChoice("tf", model.folder)).load())
        capacity = answers_of(load_from_another_process(address, max(10.0, seconds / 6)))["rate"]
        memory = psutil.Process(process.pid).memory_info().rss
        done = workspace / f"swapped-{port}"
        client = load_from_another_process(address, seconds, capacity / 2, done)
        swap_during(workspace, project, seconds)
        done.touch()
        loaded = answers_of(client)
        swaps = swaps_seen(workspace)
        grown = psutil.Process(process.pid).memory_info().rss - memory
    finally:
        process.terminate()
        process.wait(60)
    return report(engine, bare, served, capacity, loaded, swaps, grown, process.returncode)


def report(engine, bare, served, capacity, loaded, swaps, grown, code) -> bool:  # noqa: PLR0917
    """Print the table."""
    table = Table("what", "p50 ms", "p99 ms", "value", "bar", "met", title=f"The service, {SIDE_PX} px PNG, {engine}")
    ratio = float(np.median(served) / np.median(bare))
    times, statuses = np.asarray([row[0] for row in loaded["answers"]]), [row[1] for row in loaded["answers"]]
    failed = sum(status != 200 for status in statuses)
    rows = [
        ("bare engine", bare, "", "", None),
        ("one client", served, f"{ratio:.3f} x bare", f"≤ {MOST_OVERHEAD}", ratio <= MOST_OVERHEAD),
        (f"half of {capacity:.2f}/s, {swaps} swaps", times, f"{failed} of {len(times)} failed", "0", failed == 0),
    ]
    for what, seconds, value, bar, met in rows:
        p50, p99 = (1000 * np.percentile(seconds, percent) for percent in (50, 99))
        shown = "" if met is None else "yes" if met else "NO"
        table.add_row(what, f"{p50:.1f}", f"{p99:.1f}", value, bar, shown)
    table.add_row("swaps seen", "", "", str(swaps), f"{SWAPS}", "yes" if swaps == SWAPS else "NO")
    table.add_row("exit code after SIGTERM", "", "", str(code), "0", "yes" if code == 0 else "NO")
    table.add_row("memory after the swaps", "", "", f"{grown / 2**20:+.0f} MiB", "", "")
    Console(width=110).print(table)
    if failed:
        print("failed:", sorted({(row[1], row[2]) for row in loaded["answers"] if row[1] != 200}), file=sys.stderr)
    return ratio <= MOST_OVERHEAD and failed == 0 and swaps == SWAPS and code == 0


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=float, nargs="?", const=120.0, default=20.0, metavar="SECONDS")
    parser.add_argument("--workspace", type=Path, help="with two versions and a champion; default: one made here")
    parser.add_argument("--project", default="buildings")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--client", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        port, seconds, *more = given.client
        address = Address(int(port), sys.stdin.buffer.read())
        rate, until = (float(more[0]), Path(more[1])) if more else (None, None)
        print(json.dumps(load(address, float(seconds), rate, until)))
        return 0
    with tempfile.TemporaryDirectory(prefix="satseg-service-") as temporary:
        if given.workspace is None:
            given.workspace = Path(temporary)
            make_versions(given.workspace)
        return 0 if measure(given.workspace, given.project, given.engine, given.long) else 1


if __name__ == "__main__":
    sys.exit(main())
