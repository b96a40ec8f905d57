"""Writes a tiny patch set: bright squares (class 1) on a dark, noisy ground."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from satseg.patches.patchset import (
    MANIFEST_FILE,
    PATCHSET_FILE,
    STATISTICS_FILE,
    PatchSetDescription,
    Statistics,
    image_file,
    mask_file,
)
from satseg.storage.layout import Workspace

SIZE = 64
SHARDS = {0: ("train", 6), 1: ("train", 3), 2: ("val", 3), 3: ("test", 2)}


def _window(rng: np.random.Generator, bands: int, dtype: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for class_id in range(1, classes + 1):
        row, col = rng.integers(0, SIZE - 24, 2)
        mask[row : row + 24, col : col + 24] = class_id
    image = 40 + 20 * rng.random((SIZE, SIZE, bands)) + 120 * mask[..., None] / classes
    return image.astype(dtype), mask


def write_tiny_patch_set(
    workspace: Workspace,
    project: str = "tiny",
    patch_set: str = "aaaaaaaaaaaa",
    *,
    bands: int = 3,
    dtype: str = "uint8",
    classes: tuple[str, ...] = ("building",),
) -> str:
    """Write the files of a patch set with 9 train, 3 val and 2 test windows; returns its id."""
    rng = np.random.default_rng(7)
    folder: Path = workspace.patch_set(project, patch_set)
    folder.mkdir(parents=True)
    rows = []
    for shard, (split, count) in SHARDS.items():
        windows = [_window(rng, bands, dtype, len(classes)) for _ in range(count)]
        np.save(folder / image_file(shard), np.stack([image for image, _ in windows]))
        np.save(folder / mask_file(shard), np.stack([mask for _, mask in windows]))
        rows += [_row(split, shard, index, mask, classes) for index, (_, mask) in enumerate(windows)]
    pd.DataFrame(rows).to_parquet(folder / MANIFEST_FILE)
    band_names = tuple(f"band{number}" for number in range(bands))
    statistics = Statistics(
        bands=band_names,
        classes=("background", *classes),
        mean=(70.0,) * bands,
        std=(40.0,) * bands,
        class_fractions=(0.0,) * (len(classes) + 1),
        class_weights=(1.0,) * (len(classes) + 1),
        pixels=9 * SIZE * SIZE,
    )
    (folder / STATISTICS_FILE).write_text(statistics.model_dump_json())
    description = PatchSetDescription(
        id=patch_set,
        project=project,
        dataset_version="v1",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        size_px=SIZE,
        channels=bands,
        dtype=dtype,
        classes=classes,
        bands=band_names,
        gsd_m=None,
        parameters={},
        split_plan="none",
        scenes={},
        windows={"train": 9, "val": 3, "test": 2},
        positive_fractions={},
        shards=[count for _, count in SHARDS.values()],
    )
    (folder / PATCHSET_FILE).write_text(description.model_dump_json())
    return patch_set


def _row(split: str, shard: int, index: int, mask: np.ndarray, classes: tuple[str, ...]) -> dict[str, object]:
    fractions = {f"fraction_{name}": float((mask == number + 1).mean()) for number, name in enumerate(classes)}
    return {
        "scene": "s",
        "row": shard * 1000,
        "col": index * SIZE,
        "size": SIZE,
        "split": split,
        "block": f"b{shard}",
        "cohort": "v1",
        "reference": split != "train",
        "positive": True,
        "nodata_fraction": 0.0,
        **fractions,
        "kept": True,
        "reason": "",
        "draw_weight": 1 + index % 3 if split == "train" else 1,
        "shard": shard,
        "index": index,
    }
