"""Processes that take leases, work for a moment and write down when they had which device."""

import json
import os
import sys
import time
from pathlib import Path

from satseg.storage.devices import Device
from satseg.storage.layout import Workspace
from satseg.storage.leases import leased


def has_open_files(pid: str) -> bool:
    """Say whether a process still holds what it opened: a killed one loses its locks before it leaves /proc."""
    try:
        return any(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def main(root: str, name: str, count: str, seconds: str, gpus: str) -> None:
    """Hold `count` of the GPUs for some seconds; a line when they are taken, a line when they are given back."""
    devices = [Device("gpu", str(number)) for number in range(int(gpus))]
    log = Path(root) / f"{name}-{os.getpid()}.log"
    with leased(Workspace(Path(root)), devices, int(count), timeout_s=60) as lease, log.open("a") as file:
        for device in lease.devices:
            # a second holder would find the mark of the first
            mark = Path(root) / f"in-use-{device.id}"
            owner = mark.read_text() if mark.exists() else ""
            if owner and has_open_files(owner):
                file.write(json.dumps({"collision": [device.id, owner, os.getpid()]}) + "\n")
            mark.write_text(str(os.getpid()))
        taken = {"devices": [device.id for device in lease.devices], "from": time.time()}
        file.write(json.dumps(taken) + "\n")
        file.flush()
        time.sleep(float(seconds))
        for device in lease.devices:
            (Path(root) / f"in-use-{device.id}").unlink()
        file.write(json.dumps({"to": time.time()}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
