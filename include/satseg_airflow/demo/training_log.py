"""The epochs of the training that is going on, as it writes them."""

import json
from pathlib import Path
from typing import Any

EPOCHS_FILE = "epochs.jsonl"


class TrainingLog:
    """Reads the newest line of the newest `runs/<run>/epochs.jsonl`."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def latest(self) -> str:
        """Return a line such as 'epoch 3/20: loss 0.412, val IoU 0.532'; '' when nothing has trained yet."""
        files = list(self._runs.glob(f"*/{EPOCHS_FILE}"))
        if not files:
            return ""
        newest = max(files, key=lambda path: path.stat().st_mtime)
        for line in reversed(newest.read_text(encoding="utf-8").splitlines()):
            try:
                return epoch_line(json.loads(line))
            except ValueError:  # the last line may be half-written
                continue
        return ""


def epoch_line(epoch: dict[str, Any]) -> str:
    """Return one epoch in words."""
    of = f"/{epoch['epochs']}" if "epochs" in epoch else ""
    numbers = {name: value for name, value in epoch.items() if isinstance(value, float)}
    told = [
        f"{name.replace('_', ' ')} {numbers[name]:.3f}" for name in ("loss", "val_loss", "val_iou") if name in numbers
    ]
    return f"epoch {epoch.get('epoch', '?')}{of}: {', '.join(told)}"
