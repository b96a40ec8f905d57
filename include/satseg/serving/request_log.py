"""What drift monitoring needs to know of requests: features of their pixels, and how sure the model was.

A file of JSON lines per day; pixels are not kept.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.drift.features import feature_names, patch_features
from satseg.progress import say
from satseg.serving.answers import Segmentation
from satseg.serving.images import RequestImage

WAITING = 64
PATCHES_PER_REQUEST = 2


class _Entry(NamedTuple):
    """A request on its way to the file: its line without features, and the patches they are computed from."""

    line: dict[str, Any]
    patches: list[tuple[int, int, NDArray[Any], NDArray[np.bool_]]]


class RequestLog:
    """Writes in a thread of its own; a request never waits for it, and is left out when too many come."""

    def __init__(
        self,
        folder: Path,
        project: ProjectConfig,
        *,
        days: int,
        bytes_per_day: int,
        on_entry: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """Start the thread.

        Args:
            folder: of the files.
            project: its drift settings say which patches are described.
            days: files of earlier days are removed.
            bytes_per_day: beyond it requests are left out.
            on_entry: called with "written" or "left out".
        """
        self._folder, self._project = folder, project
        self._days, self._bytes_per_day, self._on_entry = days, bytes_per_day, on_entry
        self._queue: Queue[_Entry | None] = Queue(WAITING)
        self._today: date | None = None
        self._thread = Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def add(self, request_id: str, image: RequestImage, found: Segmentation, confidence: float | None) -> None:
        """Take a request; its pixels are copied."""
        sizes = np.bincount(found.ids.ravel(), minlength=len(found.classes) + 1) / found.ids.size
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": request_id,
            "model": found.model,
            "height": image.sent.height,
            "width": image.sent.width,
            "crs": image.sent.crs,
            "data_fraction": round(float(image.valid.mean()), 4),
            "confidence": None if confidence is None else round(confidence, 4),
            "class_fractions": dict(zip(found.classes, np.round(sizes[1:], 5).tolist(), strict=True)),
        }
        try:
            self._queue.put_nowait(_Entry(line, self._patches(image)))
        except Full:
            self._on_entry("left out")

    def close(self) -> None:
        """Write what waits and stop."""
        self._queue.put(None)
        self._thread.join()

    def _patches(self, image: RequestImage) -> list[tuple[int, int, NDArray[Any], NDArray[np.bool_]]]:
        """Cut up to two patches, at the centre and at the first corner; none of an image that is too small."""
        px, (height, width) = self._project.drift.patch_px, image.valid.shape
        if min(height, width) < px or len(self._project.bands) != image.pixels.shape[-1]:
            return []
        corners = dict.fromkeys([((height - px) // 2, (width - px) // 2), (0, 0)])
        cut = []
        for row, col in list(corners)[:PATCHES_PER_REQUEST]:
            part = slice(row, row + px), slice(col, col + px)
            if 1 - image.valid[part].mean() <= self._project.patches.max_nodata_fraction and image.valid[part].any():
                cut.append((row, col, image.pixels[part].copy(), image.valid[part].copy()))
        return cut

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                self._on_entry("written" if self._write(entry) else "left out")
            except OSError as error:
                self._on_entry("left out")
                say(f"request profiles cannot be written to {self._folder}: {error}")

    def _write(self, entry: _Entry) -> bool:
        day = datetime.fromisoformat(entry.line["time"]).date()
        if day != self._today:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_old(day)
            self._today = day
        path = self._folder / f"{day.isoformat()}.jsonl"
        text = json.dumps(entry.line | {"patches": self._described(entry)}, ensure_ascii=False) + "\n"
        size = path.stat().st_size if path.exists() else 0
        if size + len(text) > self._bytes_per_day:
            return False
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
        return True

    def _described(self, entry: _Entry) -> list[dict[str, Any]]:
        names = feature_names(self._project.bands)
        described = []
        for row, col, pixels, valid in entry.patches:
            finite = valid & np.isfinite(pixels).all(axis=-1)
            if finite.any():
                features = patch_features(pixels, finite, self._project.bands)
                values = {name: float(f"{value:.6g}") for name, value in zip(names, features, strict=True)}
                described.append({"row": row, "col": col, "px": valid.shape[0], "features": values})
        return described

    def _remove_old(self, today: date) -> None:
        oldest = today - timedelta(days=self._days - 1)
        for path in self._folder.glob("????-??-??.jsonl"):
            with suppress(ValueError):
                if date.fromisoformat(path.stem) < oldest:
                    path.unlink(missing_ok=True)
