"""What a training keeps on disk so that a killed one goes on where it stopped."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from satseg.stages import TrainResult
from satseg.storage.atomic import remove_stale_temps, replacing_file, write_json, write_text

Arrays = dict[str, NDArray[Any]]


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


class Progress(BaseModel):
    """Where a training stands; state.json. The arrays that belong to it are in the files it names."""

    model_config = ConfigDict(extra="forbid")

    mlflow_run_id: str | None = None
    history: list[EpochRecord] = []
    step: int = Field(0, description="Steps done of the epoch being trained.")
    loss_sum: float = Field(0.0, description="Sum of their losses.")
    epoch_seconds: float = 0.0
    seconds: float = Field(0.0, description="Time spent in all.")
    checkpoint: str | None = None
    best: str | None = None

    @property
    def best_epoch(self) -> EpochRecord | None:
        """The epoch with the highest val IoU, the first of equals; None before the first."""
        return max(self.history, key=lambda record: (record.val_iou, -record.epoch), default=None)


class RunFolder:
    """The folder of one training: state.json, arrays, epochs.jsonl (read for live progress), result.json (last)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = path / "state.json"
        self._result = path / "result.json"
        self._epochs = path / "epochs.jsonl"

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
        with replacing_file(self.path / name) as temp:
            np.savez(temp, **arrays)  # type: ignore[arg-type]
        return name

    def save_best(self, progress: Progress, weights: Mapping[str, NDArray[Any]]) -> None:
        """Keep the weights of the best epoch so far."""
        progress.best = self._write_arrays(f"best-{len(progress.history):04d}.npz", weights)

    def save(self, progress: Progress, state: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Write where the training stands; arrays first, then state.json that names them, then old arrays go."""
        if state is not None:
            name = f"checkpoint-{len(progress.history):04d}-{progress.step:07d}.npz"
            progress.checkpoint = self._write_arrays(name, state)
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
        for path in (*self.path.glob("*.npz"), self._state):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.path / "model", ignore_errors=True)
