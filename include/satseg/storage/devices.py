"""The devices of this machine that a stage may work on: its GPUs, or CPU slots where there are none."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from satseg.config.settings import settings
from satseg.errors import ConfigurationError

_DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Device:
    """A GPU (its UUID, or its number when no driver is there to ask) or a CPU slot (its number)."""

    kind: Literal["gpu", "cpu"]
    id: str

    @property
    def name(self) -> str:
        """Name for people and for the lock file, such as `gpu-0`."""
        return f"gpu-{self.id.removeprefix('GPU-')}" if self.kind == "gpu" else f"cpu-{self.id}"


def _asked_driver() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("GPU-")]


def _driver_files() -> list[str]:
    found = []
    for path in sorted(_DRIVER.glob("*/information")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "GPU UUID":
                found.append(value.strip())
    return found


@lru_cache(maxsize=1)
def nvidia_gpus() -> tuple[str, ...]:
    """Return the UUIDs of this machine's NVIDIA GPUs; they are the same inside a container, numbers are not."""
    return tuple(_asked_driver() or _driver_files())


def gpus() -> list[Device]:
    """Return the GPUs that stages may use.

    Raises:
        ConfigurationError: SATSEG_GPU_COUNT asks for more than there are.
    """
    found, wanted = nvidia_gpus(), settings().gpu_count
    if wanted is None:
        return [Device("gpu", uuid) for uuid in found]
    if found and wanted > len(found):
        raise ConfigurationError(f"SATSEG_GPU_COUNT is {wanted}, but this machine has {len(found)} GPUs. Lower it.")
    # without a driver the setting is believed: the scheduler's machine need not be the one with the GPUs
    return [Device("gpu", uuid) for uuid in (found or tuple(map(str, range(wanted))))[:wanted]]


def devices() -> list[Device]:
    """Return the GPUs, or the CPU slots of a machine without any; as many as the pool `gpu` has slots."""
    return gpus() or [Device("cpu", str(slot)) for slot in range(settings().cpu_slots)]
