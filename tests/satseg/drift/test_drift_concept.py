from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from rasterio import Affine
from shapely import box

from satseg.annotations.table import AnnotationTable, LabelledPolygon, write_table
from satseg.cli.app import main
from satseg.drift import concept
from satseg.drift.predictions import STATISTICS, held_out, patch_statistics
from satseg.drift.reference import Champion
from satseg.errors import ConfigurationError, NotFoundError
from satseg.evaluation.report import EvaluationReport, report_folder
from satseg.inference.item import PredictionRecord
from satseg.stages import ConceptSpec, EvaluateResult, Interval
from satseg.storage.atomic import write_json

TRANSFORM = Affine(0.15, 0, 450000, 0, -0.15, 30000)


def interval(value: float, half: float = 0.02) -> Interval:
    return Interval(value=value, low=value - half, high=value + half, blocks=40)


def test_a_loss_within_both_intervals_is_no_drop() -> None:
    small, large = concept.drop(interval(0.6), interval(0.59)), concept.drop(interval(0.6), interval(0.4))
    assert small is not None and small.low is not None and small.low < 0
    assert large is not None and large.low == pytest.approx(0.2 - np.hypot(0.02, 0.02))
    assert concept.drop(interval(0.6), Interval(value=None, low=None, high=None, blocks=0)) is None


def test_statistics_of_a_patch_equal_their_definitions() -> None:
    probabilities = np.full((8, 8, 1), 0.1, np.float32)
    probabilities[:2, :2] = probabilities[5:7, 4:8] = 0.9
    classes = (probabilities[..., 0] > 0.5).astype(np.uint8)
    values = dict(zip(STATISTICS, patch_statistics(probabilities, classes, np.ones((8, 8), bool)), strict=True))
    assert values["positive_fraction"] == 12 / 64
    assert values["mean_confidence"] == pytest.approx(0.9)
    assert values["predicted_entropy"] == pytest.approx(-(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)), rel=1e-5)
    assert (values["object_count"], values["object_size_px"]) == (2, 6)
    assert patch_statistics(probabilities, classes, np.zeros((8, 8), bool)) == (0.0,) * 5


def test_patches_that_a_training_window_touches_do_not_count(world, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    class Opened:
        size_px = 48

        def windows(self, split: str) -> pd.DataFrame:
            assert split == "train"
            return pd.DataFrame({"scene": ["a"], "row": [40], "col": [0]})

    monkeypatch.setattr("satseg.drift.predictions.open_patch_set", lambda *arguments: Opened())
    found = pd.DataFrame({"scene": list("aaaab"), "row": [0, 32, 64, 96, 32], "col": [0, 0, 32, 0, 0]})
    kept = held_out(found, world.workspace, "town", "p", 32)
    assert list(kept.index) == [0, 3, 4]  # rows 0-31 and 96 on lie clear of 40-87; scene b has no training window


class TestNewLabels:
    """A champion's maps on three scenes that came later, two of which have labels."""

    @pytest.fixture
    def predicted(self, world, monkeypatch: pytest.MonkeyPatch):
        world.champion = Champion("v1", "v1", "p1", "r1")
        world.add_towns(range(2), labelled=True)
        monkeypatch.setattr(concept, "champion_of", lambda workspace, project: world.champion)
        report = EvaluationReport(
            evaluated_at=datetime.now(UTC),
            classes=("building",),
            settings="s",
            result=EvaluateResult.model_validate(
                {
                    "message": "",
                    "run_id": "r1",
                    "patch_set": "p1",
                    **dict.fromkeys(("iou", "dice", "precision", "recall", "iou_all_positive"), 0.7),
                    "intervals": {"iou": interval(0.7)},
                }
            ),
            confusion=[],
            reliability={"building": [(1000, 50, 50), (1000, 950, 950)]},
        )
        folder = report_folder(world.workspace, "town", "r1", "p1")
        folder.mkdir(parents=True)
        write_json(folder / "report.json", report.model_dump(mode="json"))

        def scene(name: str, labelled: bool, wrong: float) -> None:
            """Roofs fill the left half of each block; the map shows the given part of them only."""
            world.add(name, world.town(20 + sum(map(ord, name)) % 70))
            record = world.versions["v2"][-1]
            truth, found = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
            polygons = []
            for left in range(0, 256, 64):
                truth[:, left : left + 32] = True
                found[:, left : left + round(32 * (1 - wrong))] = True
                west, north = TRANSFORM @ (left, 0)
                east, south = TRANSFORM @ (left + 32, 256)
                polygons.append(LabelledPolygon(box(west, south, east, north), 1, "building"))
            if labelled:
                path = world.workspace.root / f"{name}.geojson"
                write_table(AnnotationTable(tuple(polygons)), path, "EPSG:32636")
                world.versions["v2"][-1] = type(record)(**{**vars(record), "labelled": True, "annotations": path})
            self.write_maps(world.workspace.prediction("town", name, "v1"), found, record.checksum)

        return scene

    @staticmethod
    def write_maps(folder: Path, found: np.ndarray, checksum: str) -> None:
        folder.mkdir(parents=True)
        about = {"driver": "GTiff", "height": 256, "width": 256, "count": 1, "dtype": "uint8"}
        about |= {"crs": "EPSG:32636", "transform": TRANSFORM}
        for name, values in (("probability", np.where(found, 241, 13)), ("classes", found)):
            nodata = 255 if name == "probability" else None
            with rasterio.open(folder / f"{name}.tif", "w", nodata=nodata, **about) as target:
                target.write(values.astype(np.uint8), 1)
        text = dict.fromkeys(PredictionRecord.model_fields, "x")
        text |= {"scene_checksum": checksum, "objects": 0, "area_m2": None}
        about = {f"satseg:{name}": value for name, value in text.items()}
        item = pystac.Item("x", None, None, datetime(2026, 1, 1, tzinfo=UTC), about)
        write_json(folder / "item.json", item.to_dict(include_self_link=False))

    @pytest.fixture
    def asked(self, world, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("satseg.drift.reference.open_version", world.open_version)
        return lambda *scenes: concept.run(
            ConceptSpec(project=world.project, scenes=list(scenes) or None), world.workspace
        )

    def test_labels_that_show_a_loss_beyond_chance_are_concept_drift(self, predicted, asked) -> None:
        predicted("good", labelled=True, wrong=0.25)
        predicted("bare", labelled=False, wrong=0.5)
        predicted("bad", labelled=True, wrong=0.75)
        every = asked()
        assert (every.scenes, every.labelled) == (["good", "bare", "bad"], ["good", "bad"])
        assert every.measured.value == pytest.approx(0.5)
        good = asked("good")
        assert good.measured.value == pytest.approx(0.75) and not good.drifted
        bad = asked("bad")
        assert bad.drifted and "CONCEPT DRIFT" in bad.message
        assert bad.lost is not None and bad.lost.value == pytest.approx(0.45)

    def test_the_estimate_needs_no_labels(self, predicted, asked) -> None:
        predicted("bare", labelled=False, wrong=0.5)
        result = asked()
        # a quarter of the pixels are mapped with 95 % each, of the others 5 % are roofs
        assert result.estimated.value == pytest.approx(0.25 * 0.95 / (0.25 + 0.75 * 0.05), rel=1e-3)
        assert result.measured.value is None and not result.drifted
        assert "No labels have come yet" in result.message

    def test_scenes_the_champion_knows_are_refused_by_name(self, predicted, asked) -> None:
        predicted("bare", labelled=False, wrong=0.5)
        with pytest.raises(ConfigurationError, match=r"trained on old_0"):
            asked("old_0")
        with pytest.raises(NotFoundError, match="elsewhere"):
            asked("elsewhere")

    def test_without_predictions_or_evaluation_the_message_says_what_to_run(self, world, predicted, asked) -> None:
        world.add("later", world.town(50))
        with pytest.raises(ConfigurationError, match=r"satseg predict"):
            asked()
        world.champion = Champion("v1", "v1", "other", "r1")
        with pytest.raises(NotFoundError, match="satseg evaluate 1"):
            asked()
        world.champion = None
        with pytest.raises(NotFoundError, match="no champion"):
            asked()


def test_the_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "concept", "--help"]) == 0
    assert "labelled since" in capsys.readouterr().out
