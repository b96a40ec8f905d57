"""What `satseg doctor` looks at on the machine itself: Python, packages, programs, memory, disk, GPUs."""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import psutil

from satseg.cli.finding import Finding
from satseg.config.settings import Settings
from satseg.errors import ConfigurationError
from satseg.storage.devices import gpus

GIB = 2**30
LEAST_MEMORY_GIB, GOOD_MEMORY_GIB = 4, 8
LEAST_DISK_GIB, GOOD_DISK_GIB = 2, 20
GOOD_CORES = 2
PACKAGES = ("tensorflow", "tf-keras", "segmentation-models", "mlflow", "dvc", "great-expectations", "rasterio", "numpy")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def python() -> Finding:
    """Python is 3.11: the pinned packages are built for it."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", found, "Install Python 3.11, then: make venv PYTHON=/path/to/python3.11")


def packages() -> Finding:
    """The libraries satseg stands on are installed; none is imported."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "missing", f"not installed: {', '.join(missing)}", "make venv")
    return Finding("packages", "ok", f"TensorFlow {importlib.metadata.version('tensorflow')} and the others")


def airflow() -> Finding:
    """Airflow is there for `make up` and `make demo`; commands and images of stages do without."""
    try:
        return Finding("Airflow", "ok", importlib.metadata.version("apache-airflow"))
    except importlib.metadata.PackageNotFoundError:
        return Finding("Airflow", "note", "not installed: only commands work here, no DAGs", "make venv")


def git() -> Finding:
    """Git, so that runs know the commit of the code."""
    if path := shutil.which("git"):
        return Finding("git", "ok", path)
    return Finding("git", "note", "not installed: runs cannot say which code made them", "apt-get install git")


def cores() -> Finding:
    """Processors this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if usable >= GOOD_CORES:
        return Finding("processors", "ok", str(usable))
    return Finding(
        "processors", "note", f"{usable}: training and prediction will be slow", f"Give it {GOOD_CORES} or more."
    )


def memory() -> Finding:
    """Memory of the machine, or of the container."""
    total = psutil.virtual_memory().total
    if _CGROUP_LIMIT.is_file() and (limit := _CGROUP_LIMIT.read_text(encoding="ascii").strip()).isdigit():
        total = min(total, int(limit))
    found = f"{total / GIB:.1f} GiB"
    if total >= GOOD_MEMORY_GIB * GIB * 0.95:
        return Finding("memory", "ok", found)
    mend = f"{GOOD_MEMORY_GIB} GiB are good for training; with less lower training.batch_size."
    return Finding("memory", "note" if total >= LEAST_MEMORY_GIB * GIB else "missing", found, mend)


def disk(where: Settings) -> Finding:
    """The workspace can be written, and how much room is there."""
    folder = where.workspace.resolve()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "workspace", "missing", f"{folder} cannot be written", "Set SATSEG_WORKSPACE to a folder of yours."
        )
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / GIB:.1f} GiB free"
    if free >= GOOD_DISK_GIB * GIB:
        return Finding("workspace", "ok", found)
    mend = "Free space (satseg patch --prune), or set SATSEG_WORKSPACE to a larger disk."
    return Finding("workspace", "note" if free >= LEAST_DISK_GIB * GIB else "missing", found, mend)


def graphics() -> Finding:
    """NVIDIA GPUs that stages may use."""
    try:
        found = gpus()
    except ConfigurationError as error:
        return Finding("GPU", "missing", str(error), "Correct SATSEG_GPU_COUNT.")
    if found:
        return Finding("GPU", "ok", ", ".join(device.name for device in found))
    return Finding(
        "GPU", "note", "none: everything runs on the processors", "With a GPU in the machine: install NVIDIA's driver."
    )
