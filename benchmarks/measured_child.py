"""One measurement in a process of its own, and the memory of its whole tree while it runs."""

import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

SAMPLE_S = 0.05


def child(script: str, order: dict[str, Any], folder: Path, *, watched: bool = True) -> dict[str, Any]:
    """Run `script --child ORDER` and return the JSON object in its last line, with `peak` added.

    `peak` is the largest resident set of its process tree in bytes, mapped pages included; 0 when it is not watched.
    Watching takes a part of a core, which a measurement that needs all cores would miss.

    Args:
        script: of the benchmark.
        order: what the child is to do; JSON.
        folder: emptied first; keeps the child's log.
        watched: look at its memory.

    Raises:
        SystemExit: it failed; the message ends with its last words.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, script, "--child", json.dumps(order)]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        if watched:
            watcher.start()
        output, _ = process.communicate()
        if watched:
            watcher.join()
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{order['job']} ended with exit code {process.returncode}:\n{log.read()[-3000:]}")
    return {**json.loads(output.splitlines()[-1]), "peak": peak[0]}


def _watch(pid: int, peak: list[int]) -> None:
    with suppress(psutil.NoSuchProcess):  # it has ended
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            tree = [parent, *parent.children(recursive=True)]
            peak[0] = max(peak[0], sum(member.memory_info().rss for member in tree))
            time.sleep(SAMPLE_S)
