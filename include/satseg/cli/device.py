"""The device a command works on: TensorFlow sees what CUDA_VISIBLE_DEVICES says when it is first imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from satseg.config.settings import settings
from satseg.progress import say
from satseg.stages import STAGES, SelectSpec, Spec, TrainSpec, TuneSpec
from satseg.storage.devices import gpus
from satseg.storage.layout import Workspace
from satseg.storage.leases import joined, leased


@contextmanager
def device_for(spec: Spec, workspace: Workspace) -> Iterator[None]:
    """Hold the GPUs a stage needs: those its operator leased for it, or in a shell the next free ones.

    Without GPUs a shell's command just runs: only the orchestrator counts CPU slots.

    Raises:
        LockHeldError: the GPUs are in use for longer than ten minutes, or the operator's lease was lost.
        ConfigurationError: the stage wants more GPUs than there are.
    """
    if (lease := settings().lease) is not None:
        with joined(workspace, lease):
            yield
        return
    wanted = _wanted(spec)
    there = gpus() if wanted else []
    if not there:
        yield
        return
    with leased(workspace, there, wanted, on_wait=say) as own, _environment(own.environment()):
        yield


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _wanted(spec: Spec) -> int:
    if isinstance(spec, TuneSpec):  # the other steps start trials or read their results
        return spec.project.training.gpus if spec.step == "trial" else 0
    if isinstance(spec, SelectSpec) and spec.step == "collect":
        return 0
    if isinstance(spec, TrainSpec):
        return spec.project.training.gpus
    return int(any(stage.gpu for stage in STAGES.values() if stage.spec is type(spec)))
