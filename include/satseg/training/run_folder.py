"""What a training keeps on disk so that a killed one goes on where it stopped."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from satseg.errors import TemporaryError
from satseg.stages import TrainResult, TrainSpec
from satseg.storage.atomic import remove_stale_temps, replacing_file, write_json, write_text

Arrays = dict[str, NDArray[Any]]
STATE_FILE = "state.json"
MODEL_FOLDER, PROFILE_FOLDER = "model", "profile"  # what is on its way to MLflow
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class EpochRecord(BaseModel):
    """One line of epochs.jsonl."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int = Field(description="From 1.")
    epochs: int = Field(description="Epochs planned.")
    loss: float
    val_loss: float
    val_iou: float
    val_dice: float
    lr: float
    seconds: float
    time: str = Field(description="UTC, ISO 8601.")
    steps: int = Field(0, description="Optimiser steps of the epoch.")
    scores: dict[str, float] = Field({}, description="Further scores of the val split, by their MLflow name.")


class Progress(BaseModel):
    """Where a training stands; state.json. The arrays that belong to it are in the files it names."""

    model_config = ConfigDict(extra="forbid")

    mlflow_run_id: str | None = None
    logged: int = Field(0, description="Epochs of the history that MLflow has; the rest waits here for it.")
    failed: str | None = Field(None, description="Why it ended for good; None while it can go on.")
    history: list[EpochRecord] = []
    step: int = Field(0, description="Steps done of the epoch being trained.")
    loss_sum: float = Field(0.0, description="Sum of their losses.")
    epoch_seconds: float = 0.0
    seconds: float = Field(0.0, description="Time spent in all.")
    checkpoint: str | None = None
    best: str | None = None

    @property
    def steps_before(self) -> int:
        """Optimiser steps of the finished epochs."""
        return sum(record.steps for record in self.history)

    @property
    def best_epoch(self) -> EpochRecord | None:
        """The epoch with the highest val IoU, the first of equals; None before the first."""
        return max(self.history, key=lambda record: (record.val_iou, -record.epoch), default=None)


def _best_file(progress: Progress) -> str:
    return f"best-{len(progress.history):04d}.npz"


class RunFolder:
    """The folder of one training: state.json, arrays, epochs.jsonl (read for live progress), result.json (last)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = path / STATE_FILE
        self._result = path / "result.json"
        self._epochs = path / "epochs.jsonl"
        self._spec = path / "spec.json"

    def open(self) -> Progress:
        """Return where an earlier process stopped; call it holding the lock."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_stale_temps(self.path)
        if not self._state.is_file():
            return Progress()
        progress = Progress.model_validate_json(self._state.read_text(encoding="utf-8"))
        # a process killed between two files may have written a line that the state does not know
        write_text(self._epochs, "".join(f"{record.model_dump_json()}\n" for record in progress.history))
        return progress

    def keep_spec(self, spec: TrainSpec) -> None:
        """Write down what is trained, for `--resume`."""
        write_json(self._spec, spec.model_dump(mode="json"))

    def mark_failed(self, reason: str) -> None:
        """Remember that going on cannot help; the state stays that of the last checkpoint."""
        if self._state.is_file():
            progress = Progress.model_validate_json(self._state.read_text(encoding="utf-8"))
            progress.failed = reason
            write_json(self._state, progress.model_dump(mode="json"))

    def interrupted(self) -> TrainSpec | None:
        """Return what was trained here and neither ended nor failed for good."""
        if self._result.is_file() or not self._spec.is_file() or not self._state.is_file():
            return None
        if Progress.model_validate_json(self._state.read_text(encoding="utf-8")).failed is not None:
            return None
        return TrainSpec.model_validate_json(self._spec.read_text(encoding="utf-8"))

    def clear(self) -> None:
        """Forget an earlier training."""
        shutil.rmtree(self.path, ignore_errors=True)

    def result(self) -> TrainResult | None:
        """Return the result of a finished training."""
        if not self._result.is_file():
            return None
        return TrainResult.model_validate_json(self._result.read_text(encoding="utf-8"))

    def append_epoch(self, record: EpochRecord) -> None:
        """Add a line to epochs.jsonl, visible at once."""
        with self._epochs.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        needed = sum(array.nbytes for array in arrays.values())
        with self._space_explained(needed), replacing_file(self.path / name) as temp:
            np.savez(temp, **arrays)  # type: ignore[arg-type]
        return name

    @contextmanager
    def _space_explained(self, needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            free = shutil.disk_usage(self.path).free
            raise TemporaryError(
                f"No space left in {self.path}: a checkpoint needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB "
                "are free. Free space and run the same command again: it goes on from the last checkpoint."
            ) from error

    def best_is_due(self, progress: Progress) -> bool:
        """Whether the weights are those of the best epoch so far, and not on disk yet."""
        if progress.step or not progress.history or progress.best_epoch is not progress.history[-1]:
            return False
        return progress.best != _best_file(progress)

    def save_best(self, progress: Progress, weights: Mapping[str, NDArray[Any]]) -> None:
        """Keep the weights of the best epoch so far."""
        progress.best = self._write_arrays(_best_file(progress), weights)

    def save(self, progress: Progress, state: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Write where the training stands; arrays first, then state.json that names them, then old arrays go."""
        if state is not None:
            name = f"checkpoint-{len(progress.history):04d}-{progress.step:07d}.npz"
            progress.checkpoint = self._write_arrays(name, state)
        with self._space_explained(0):
            write_json(self._state, progress.model_dump(mode="json"))
        for path in self.path.glob("*.npz"):
            if path.name not in (progress.checkpoint, progress.best):
                path.unlink()

    def arrays(self, name: str) -> Arrays:
        """Read arrays that `save` or `save_best` wrote."""
        with np.load(self.path / name) as file:
            return {key: file[key] for key in file.files}

    def finish(self, result: TrainResult) -> None:
        """Write result.json, the sign of completion, and drop what only an unfinished training needs."""
        write_json(self._result, json.loads(result.model_dump_json()))
        for path in (*self.path.glob("*.npz"), self._state, self._spec):
            path.unlink(missing_ok=True)
        for name in (MODEL_FOLDER, PROFILE_FOLDER):
            shutil.rmtree(self.path / name, ignore_errors=True)
