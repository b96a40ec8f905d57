"""A tiny dataset in a real git repository, patch sets on it, and a model whose answer depends on the ground around."""

import hashlib
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import uniform_filter

from satseg.datasets.repository import GitRepository
from satseg.patches.patchset import open_patch_set

UTM = Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)
SIZE = 32


class BlurredSegmenter:
    """Probability is the mean brightness of 9 x 9 pixels, so that it depends on what the model sees around a pixel."""

    description = SimpleNamespace(channels=1)

    def __init__(self):
        self.windows = 0

    def predict(self, images):
        self.windows += len(images)
        bright = images.astype(np.float32).mean(axis=-1) / 255
        return uniform_filter(bright, (0, 9, 9))[..., None].astype(np.float32)


class Dataset:
    """The dataset of project "houses" in a workspace."""

    def __init__(self, workspace):
        self.workspace = workspace
        workspace.data.mkdir(parents=True)
        self.repository = GitRepository(workspace.data)
        self.repository.initialise()

    def add(self, scene, pixels, crs="EPSG:32633", transform=UTM, nodata=None):
        """Write a scene (H, W, C) uint8."""
        path = self.workspace.dataset("houses") / "scenes" / f"{scene}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width, count = pixels.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": "uint8"}
        if crs:
            profile |= {"crs": crs, "transform": transform}
        with rasterio.open(path, "w", **profile, nodata=nodata) as file:
            file.write(np.moveaxis(pixels, -1, 0))
        item = {
            "id": scene,
            "properties": {
                "satseg:checksum": hashlib.sha256(path.read_bytes()).hexdigest(),
                "satseg:annotation_checksum": None,
                "satseg:source": {"checksum": "0" * 64},
                "satseg:ingested_at": "2026-01-01T00:00:00+00:00",
                "satseg:crs": crs,
                "satseg:gsd_m": None,
                "satseg:bands": ["red", "green", "blue"][:count],
                "satseg:dtype": "uint8",
                "satseg:nodata": nodata,
                "proj:shape": [height, width],
                "proj:transform": list(transform)[:6] if crs else [1, 0, 0, 0, 1, 0],
            },
        }
        items = self.workspace.dataset("houses") / "items"
        items.mkdir(exist_ok=True)
        (items / f"{scene}.json").write_text(json.dumps(item))

    def tag(self, version):
        """Commit what is there as a version."""
        self.repository.commit(["houses/items"], version)
        self.repository.tag(f"houses/{version}", version)

    def patch_set(self, name, windows, version="v1", masks=None, pixels=None):
        """Write a patch set; `windows` are (scene, row, col, split, block), masks (N, SIZE, SIZE)."""
        folder = self.workspace.patch_set("houses", name)
        folder.mkdir(parents=True)
        count = len(windows)
        masks = np.zeros((count, SIZE, SIZE), np.uint8) if masks is None else masks
        np.save(folder / "masks-00000.npy", masks)
        np.save(folder / "images-00000.npy", np.zeros((count, SIZE, SIZE, 3), np.uint8) if pixels is None else pixels)
        table = pd.DataFrame(windows, columns=["scene", "row", "col", "split", "block"]).assign(
            size=SIZE, reference=True, positive=True, nodata_fraction=0.0, kept=True, shard=0, index=range(count)
        )
        table.to_parquet(folder / "manifest.parquet")
        numbers = {"mean": [90.0] * 3, "std": [40.0] * 3, "class_fractions": [0.5, 0.5], "class_weights": [1.0, 1.0]}
        statistics = {"bands": ["red", "green", "blue"], "classes": ["background", "building"], "pixels": 1, **numbers}
        (folder / "statistics.json").write_text(json.dumps(statistics))
        description = {
            "id": name,
            "project": "houses",
            "dataset_version": version,
            "created": datetime.now(UTC).isoformat(),
            "size_px": SIZE,
            "channels": 3,
            "dtype": "uint8",
            "classes": ["building"],
            "bands": ["red", "green", "blue"],
            "gsd_m": 0.5,
            "parameters": {},
            "split_plan": "",
            "scenes": {},
            "windows": {split: sum(one[3] == split for one in windows) for split in ("train", "val", "test")},
            "positive_fractions": {},
            "shards": [count],
        }
        (folder / "patchset.json").write_text(json.dumps(description))
        return open_patch_set(self.workspace, "houses", name)


@pytest.fixture(scope="session")
def make_dataset():
    """Return what makes an empty dataset in a workspace."""
    return Dataset


@pytest.fixture
def dataset(workspace):
    """An empty dataset."""
    return Dataset(workspace)


@pytest.fixture
def segmenter():
    """The stand-in model."""
    return BlurredSegmenter()
