"""Leases: which process works on which device. The pool `gpu` says how many tasks run, a lease says where.

A lease is an operating-system lock on one file per device, so it ends with its process, also with `kill -9`. The
file is locked exclusively to take the device, then held as a shared lock: a stage in a process or container of its
own joins the lease of the operator that started it, and the device stays taken while either of them lives.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from satseg.config.settings import settings
from satseg.errors import ConfigurationError, LockHeldError
from satseg.storage.devices import Device
from satseg.storage.layout import Workspace

POLL_S = 0.2
LEASE_VARIABLE = "SATSEG_LEASE"
_QUEUE = Device("gpu", "queue")


@dataclass(frozen=True)
class Lease:
    """Devices that belong to one task."""

    devices: tuple[Device, ...]
    token: str

    def environment(self) -> dict[str, str]:
        """Return what a process that works on these devices needs in its environment."""
        visible = ",".join(self.docker_device_ids) or "-1"
        names = ",".join(device.name for device in self.devices)
        return {"CUDA_VISIBLE_DEVICES": visible, LEASE_VARIABLE: f"{self.token}:{names}"}

    @property
    def docker_device_ids(self) -> list[str]:
        """GPU ids for `docker.types.DeviceRequest(device_ids=…, capabilities=[["gpu"]])`; empty for CPU slots."""
        return [device.id for device in self.devices if device.kind == "gpu"]


class _DeviceLock:
    """An open lock file; closing it gives the device back."""

    def __init__(self, path: Path, operation: int) -> None:
        """Lock the file.

        Raises:
            BlockingIOError: another process holds it, or the file was removed meanwhile.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(operation)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _lock(self, operation: int) -> None:
        fcntl.flock(self._descriptor, operation | fcntl.LOCK_NB)
        try:
            same = os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            same = False
        if not same:  # a lock on a removed file keeps nobody out
            raise BlockingIOError(f"{self.path} was removed")

    def share(self, token: str) -> None:
        """Go over from the exclusive lock to a shared one that carries a token.

        Raises:
            BlockingIOError: another process was quicker: the kernel gives the first lock up before the second.
        """
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, token.encode(), 0)
        self._lock(fcntl.LOCK_SH)
        self.check(token)

    def check(self, token: str) -> None:
        """Refuse a lock that somebody else shares.

        Raises:
            BlockingIOError: the file carries another token.
        """
        if os.pread(self._descriptor, 100, 0) != token.encode():
            raise BlockingIOError(f"{self.path} belongs to another task")

    def close(self) -> None:
        """Give the device back."""
        os.close(self._descriptor)


def lease_file(workspace: Workspace, name: str) -> Path:
    """Return the lock file of a device."""
    folder = settings().lease_dir
    return workspace.lock(name) if folder is None else folder / workspace.lock(name).name


def is_leased(workspace: Workspace, device: Device) -> bool:
    """Return whether a task works on a device now.

    Asking holds the lock for a moment; whoever takes leases tries again a little later.
    """
    try:
        descriptor = os.open(lease_file(workspace, device.name), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(path: Path, token: str) -> _DeviceLock | None:
    try:
        lock = _DeviceLock(path, fcntl.LOCK_EX)
    except BlockingIOError:
        return None
    try:
        lock.share(token)
    except BaseException as error:
        lock.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return lock


@contextmanager
def leased(
    workspace: Workspace,
    devices: Sequence[Device],
    count: int = 1,
    timeout_s: float = 600.0,
    on_wait: Callable[[str], None] = lambda message: None,
) -> Iterator[Lease]:
    """Hold `count` of the devices until the block ends; whoever comes first is served first.

    Only the first in the queue collects devices, so that two tasks that want several never wait for each other.

    Raises:
        ConfigurationError: more devices are wanted than there are.
        LockHeldError: the devices were not free within the time.
    """
    if count > len(devices):
        raise ConfigurationError(
            f"{count} devices are wanted (training.gpus), but there are {len(devices)}: "
            f"{', '.join(device.name for device in devices) or 'none'}. Lower it, or raise SATSEG_GPU_COUNT."
        )
    files = {device: lease_file(workspace, device.name) for device in devices}
    queue = lease_file(workspace, _QUEUE.name)
    token = uuid.uuid4().hex
    with ExitStack() as held:
        deadline = _Deadline(devices, timeout_s, on_wait)
        with ExitStack() as turn:
            while (place := _take(queue, token)) is None:
                deadline.pause()
            turn.callback(place.close)
            taken = _collect(files, count, token, held, deadline)
        yield Lease(tuple(taken), token)


class _Deadline:
    """Sleeps between tries, says once that it waits, and gives up after the time."""

    def __init__(self, devices: Sequence[Device], timeout_s: float, on_wait: Callable[[str], None]) -> None:
        self._names = ", ".join(device.name for device in devices)
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._on_wait: Callable[[str], None] | None = on_wait

    def pause(self) -> None:
        """Sleep until the next try.

        Raises:
            LockHeldError: the time is over.
        """
        if time.monotonic() >= self._end:
            raise LockHeldError(
                f"All devices ({self._names}) are in use by other tasks (waited {self._timeout_s:.0f} s). "
                "Wait for them to end, then run this again."
            )
        if self._on_wait is not None:
            self._on_wait(f"waiting for a free device of {self._names}")
            self._on_wait = None
        time.sleep(POLL_S)


def _collect(files: dict[Device, Path], count: int, token: str, held: ExitStack, deadline: _Deadline) -> list[Device]:
    taken: list[Device] = []
    while True:
        for device in [device for device in files if device not in taken]:
            lock = _take(files[device], token)
            if lock is not None:
                held.callback(lock.close)
                taken.append(device)
            if len(taken) == count:
                return taken
        deadline.pause()


@contextmanager
def joined(workspace: Workspace, lease: str) -> Iterator[None]:
    """Keep the devices of the lease this process was started under, for as long as the block lasts.

    Args:
        workspace: Holds the lock files.
        lease: The value of SATSEG_LEASE.

    Raises:
        LockHeldError: who started this process has ended, and the device belongs to another task now.
    """
    token, _, names = lease.partition(":")
    with ExitStack() as held:
        for name in names.split(","):
            try:
                lock = _DeviceLock(lease_file(workspace, name), fcntl.LOCK_SH)
                held.callback(lock.close)
                lock.check(token)
            except BlockingIOError as error:
                raise LockHeldError(
                    f"The lease of {name} was lost: the task that started this process has ended. Run it again."
                ) from error
        yield
