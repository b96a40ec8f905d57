"""A small world: scenes on disk, a dataset and a champion that the drift room sees through its own imports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import DatasetVersion, SceneRecord
from satseg.drift.reference import Champion
from satseg.errors import NotFoundError
from satseg.stages import DriftResult
from satseg.storage.layout import Workspace

BANDS = ("red", "green", "blue")


def town(seed: int, size: int = 256) -> np.ndarray:
    """Return (size, size, 3) uint8: bright blocks (roofs) on a textured ground, smooth over some ten pixels."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(0, 1, (size // 8, size // 8)).repeat(8, 0).repeat(8, 1)
    image = np.stack([100 + 12 * ground, 110 + 12 * ground, 80 + 9 * ground], axis=-1)
    for row, col in rng.integers(0, size - 16, (size * size // 1500, 2)):
        image[row : row + 12, col : col + 14] = rng.uniform(150, 215, 3)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def write_scene(path: Path, pixels: np.ndarray, nodata: float | None = None) -> Path:
    height, width, count = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype.name}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", nodata=nodata, crs="EPSG:32636", transform=Affine(0.15, 0, 450000, 0, -0.15, 30000), **profile
    ) as target:
        target.write(pixels.transpose(2, 0, 1))
    return path


def record_of(path: Path, pixels: np.ndarray, labelled: bool, at: int = 0) -> SceneRecord:
    checksum = sha256(pixels.tobytes()).hexdigest()
    return SceneRecord(
        id=path.stem,
        path=path,
        annotations=None,
        labelled=labelled,
        checksum=checksum,
        source_checksum=checksum,
        annotation_checksum=None,
        ingested_at=datetime(2026, 1, 1, tzinfo=UTC),
        crs="EPSG:32636",
        gsd_m=0.15,
        width=pixels.shape[1],
        height=pixels.shape[0],
        bands=BANDS[: pixels.shape[2]],
        dtype=pixels.dtype.name,
        nodata=None,
        transform=(0.15, 0.0, 450000.0, 0.0, -0.15, 30000.0),
        footprint_wgs84=(32.5 + at / 1000, 0.27, 32.5005 + at / 1000, 0.2705),
        item={},
    )


@dataclass
class World:
    """What the fakes answer with; tests add scenes and set the champion."""

    workspace: Workspace
    project: ProjectConfig
    champion: Champion | None = field(default_factory=lambda: Champion("v1", "v1"))
    versions: dict[str, list[SceneRecord]] = field(default_factory=lambda: {"v1": [], "v2": []})

    town = staticmethod(town)

    def add(self, scene: str, pixels: np.ndarray, labelled: bool = False, nodata: float | None = None) -> str:
        """Add a scene; labelled ones belong to v1 and v2, others to v2 only."""
        path = write_scene(self.workspace.root / "scenes" / f"{scene}.tif", pixels, nodata)
        record = record_of(path, pixels, labelled, at=len(self.versions["v2"]))
        for version in ("v1", "v2") if labelled else ("v2",):
            self.versions[version].append(record)
        return scene

    def add_towns(
        self, seeds: range, labelled: bool, change: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> list[str]:
        """Add towns of one kind; `change` turns their float pixels into what the sensor saw."""
        added = []
        for seed in seeds:
            pixels = town(seed)
            if change is not None:
                pixels = np.clip(np.rint(change(pixels.astype(float))), 0, 255).astype(np.uint8)
            added.append(self.add(f"{'old' if labelled else 'new'}_{seed}", pixels, labelled))
        return added

    def open_version(self, workspace: Workspace, project_name: str, version: str | None = None) -> DatasetVersion:
        name = version or "v2"
        if name not in self.versions:
            raise NotFoundError(f"no version {name}")
        return DatasetVersion(project_name, name, "abc", datetime.now(UTC), tuple(self.versions[name]), "")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    project = ProjectConfig.model_validate(
        {
            "name": "town",
            "classes": ["building"],
            "drift": {"patch_px": 32, "block_patches": 2, "permutations": 499, "confirm": {"nights": 2, "of": 3}},
        }
    )
    world = World(Workspace(tmp_path / "ws"), project)
    for room in ("profile", "reference", "report"):
        monkeypatch.setattr(f"satseg.drift.{room}.open_version", world.open_version)
    for room in ("compare", "status"):
        monkeypatch.setattr(f"satseg.drift.{room}.champion_of", lambda workspace, project: world.champion)
    return world


@pytest.fixture
def tested(world: World) -> Callable[..., DriftResult]:
    """Write the report of a night with a given verdict."""
    from satseg.drift.nights import write_report

    def write(night: str, verdict: str = "drift", champion: str = "v1") -> DriftResult:
        result = DriftResult.model_validate(
            {
                "message": f"{night} {verdict}",
                "night": night,
                "verdict": verdict,
                "drifted": verdict == "drift",
                "p_value": 0.01,
                "reference_version": champion,
                "champion": champion,
            }
        )
        write_report(world.workspace, world.project.name, result)
        return result

    return write
