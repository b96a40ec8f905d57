"""A tiny world: two patch sets on disk, and models of one weight whose scores are known, in a real SQLite MLflow."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_descriptions import describe
from satseg.config.project import ProjectConfig
from satseg.datasets.repository import GitRepository
from satseg.registry import packaged
from satseg.storage.layout import Workspace
from satseg.tracking.probe import Probe

SIZE = 32
FIRST_SET, SECOND_SET = "a" * 12, "b" * 12


@dataclass
class World:
    """The workspace of the tests and what is in it."""

    workspace: Workspace
    project: ProjectConfig
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)

    def dataset(self) -> None:
        """Tag a dataset version; its scenes are gone, so that windows are predicted from the shards."""
        collection = self.workspace.dataset(self.project.name) / "collection.json"
        collection.parent.mkdir(parents=True)
        collection.write_text("{}")
        repository = GitRepository(self.workspace.data)
        repository.initialise()
        repository.commit([f"{self.project.name}/collection.json"], "version 1")
        repository.tag(f"{self.project.name}/v1", "version 1")

    def patch_set(self, name: str, windows: int, new: int) -> None:
        """Write a patch set: half of the pixels are roofs; roofs are red above 120, the rest below 140."""
        masks, red = [], []
        for number in range(windows + new):  # a window is the same in every patch set
            random = np.random.default_rng(number)
            masks.append((random.random((SIZE, SIZE)) < 0.5).astype(np.uint8))
            roofs, ground = random.integers(120, 256, (SIZE, SIZE)), random.integers(0, 140, (SIZE, SIZE))
            red.append(np.where(masks[-1], roofs, ground))
        images = np.full((windows + new, SIZE, SIZE, 3), 90, np.uint8)
        images[..., 0] = red
        folder = self.workspace.patch_set(self.project.name, name)
        folder.mkdir(parents=True)
        np.save(folder / "images-00000.npy", images)
        np.save(folder / "masks-00000.npy", np.stack(masks))
        self.labels[name], self.images[name] = np.stack(masks), images
        self._manifest(folder, windows, new)
        statistics = {
            "bands": ["red", "green", "blue"],
            "classes": ["background", "building"],
            "mean": [120.0, 90.0, 90.0],
            "std": [60.0, 1.0, 1.0],
            "class_fractions": [0.5, 0.5],
            "class_weights": [1.0, 1.0],
            "pixels": 1,
        }
        (folder / "statistics.json").write_text(json.dumps(statistics))
        description = {
            "id": name,
            "project": self.project.name,
            "dataset_version": "v1",
            "created": datetime.now(UTC).isoformat(),
            "size_px": SIZE,
            "channels": 3,
            "dtype": "uint8",
            "classes": ["building"],
            "bands": ["red", "green", "blue"],
            "gsd_m": None,
            "parameters": {},
            "split_plan": "",
            "scenes": {},
            "windows": {"train": 0, "val": 0, "test": windows + new},
            "positive_fractions": {},
            "shards": [windows + new],
        }
        (folder / "patchset.json").write_text(json.dumps(description))

    def _manifest(self, folder: Path, windows: int, new: int) -> None:
        number = np.arange(windows + new)
        table = pd.DataFrame(
            {
                "scene": np.where(number < windows, np.where(number % 2, "east", "west"), "young"),
                "row": 0,
                "col": number * SIZE,
                "size": SIZE,
                "split": "test",
                "block": [f"{n // 2}-0" for n in number],
                "cohort": "v1",
                "reference": number < windows,
                "positive": True,
                "nodata_fraction": 0.0,
                "kept": True,
                "reason": "",
                "draw_weight": 1,
                "shard": 0,
                "index": number,
            }
        )
        table.to_parquet(folder / "manifest.parquet")

    def train(self, red_from: float, *, patch_set: str = FIRST_SET, fail: bool = False, nan: bool = False) -> str:
        """Log a run whose model calls a pixel a roof when its red is at least `red_from`; return its id."""
        from satseg.models.keras.runtime import keras
        from satseg.tracking.runs import tracked_run

        network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
        steep = np.nan if nan else 1.0
        network.layers[0].set_weights([np.array([[[[steep], [0], [0]]]]), np.array([0.5 - red_from])])
        description = describe(
            project=self.project.name,
            architecture="conv",
            patch_px=SIZE,
            gsd_m=None,
            mean=(120.0, 90.0, 90.0),
            std=(60.0, 1.0, 1.0),
            patch_set=patch_set,
        )
        folder = self.workspace.root / "tiny" / str(red_from)
        folder.mkdir(parents=True, exist_ok=True)
        network.save(folder / "model.keras")
        (folder / "model.json").write_text(description.model_dump_json())
        tags = {"satseg.patch_set": patch_set, "satseg.dataset_version": "v1", "satseg.git_commit": "c0ffee"}
        example = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        run_id = ""
        try:
            with tracked_run(
                self.workspace, self.project.name, name="tiny", tags=tags, params={"red": red_from}
            ) as run:
                run_id = run.id
                if fail:
                    raise RuntimeError("training broke")
                run.log_model_files(folder, description.model_dump(mode="json"), example)
        except RuntimeError:
            assert fail
        return run_id

    def expected_iou(self, red_from: float, patch_set: str = FIRST_SET, windows: slice = slice(None)) -> float:
        """IoU of such a model by plain NumPy."""
        labels, predicted = self.labels[patch_set][windows] > 0, self.images[patch_set][windows][..., 0] >= red_from
        return float((labels & predicted).sum() / (labels | predicted).sum())


@pytest.fixture(scope="module")
def probed_here():
    """The packaged models are tried in this process: a clean one costs ten seconds for each, and has its own test."""
    import mlflow

    def probe(folder: Path, images: np.ndarray) -> Probe:
        return Probe(mlflow.pyfunc.load_model(str(folder)).predict(images), 1.0, 0.01, 100.0, "3.11")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packaged, "probe_packaged", probe)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(
        Workspace(tmp_path_factory.mktemp("workspace")),
        ProjectConfig(name="houses", classes=("building",), promotion={"min_iou": 0.6, "max_iou_loss": 0.02}),
    )
    made.dataset()
    made.patch_set(FIRST_SET, windows=8, new=0)
    made.patch_set(SECOND_SET, windows=8, new=2)
    return made
