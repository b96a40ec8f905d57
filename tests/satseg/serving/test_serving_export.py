"""Exports against a real MLflow: true reports, marks only for what passed, and the engine that follows from them."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from model_descriptions import describe
from satseg.cli import app as cli
from satseg.config.project import ProjectConfig
from satseg.config.settings import settings
from satseg.errors import ConfigurationError, NotFoundError
from satseg.models import parity
from satseg.models.exports import best_engine, choose_engine, exports, store_export, write_parity
from satseg.models.parity import ParityReport
from satseg.serving import export
from satseg.stages import ExportSpec
from satseg.tracking.exports import export_tags, set_export_tag
from satseg.tracking.models import create_version, model_folder, resolve_model
from satseg.tracking.runs import tracked_run

pytestmark = pytest.mark.slow
SIZE, PATCH_SET = 32, "a" * 12


def write_patch_set(workspace):
    """Write windows where roofs are red above 120 and the rest is red below 140."""
    masks, images = [], np.full((40, SIZE, SIZE, 3), 90, np.uint8)
    for number in range(40):
        random = np.random.default_rng(number)
        masks.append((random.random((SIZE, SIZE)) < 0.5).astype(np.uint8))
        images[number, ..., 0] = np.where(
            masks[-1], random.integers(120, 256, (SIZE, SIZE)), random.integers(0, 140, (SIZE, SIZE))
        )
    folder = workspace.patch_set("houses", PATCH_SET)
    folder.mkdir(parents=True)
    np.save(folder / "images-00000.npy", images)
    np.save(folder / "masks-00000.npy", np.stack(masks))
    number = np.arange(40)
    table = pd.DataFrame({"scene": "east", "row": 0, "col": number * SIZE, "size": SIZE, "kept": True, "shard": 0})
    table["split"] = np.select([number < 20, number < 30], ["train", "val"], "test")
    table["fraction_building"], table["index"], table["nodata_fraction"] = 0.5, number, 0.0
    table.to_parquet(folder / "manifest.parquet")
    common = {"bands": ["red", "green", "blue"], "classes": ["building"]}
    statistics = common | {"mean": [120.0, 90, 90], "std": [60.0, 1, 1], "class_fractions": [0.5, 0.5]}
    statistics |= {"class_weights": [1.0, 1.0], "pixels": 1, "classes": ["background", "building"]}
    (folder / "statistics.json").write_text(json.dumps(statistics))
    about = common | {"id": PATCH_SET, "project": "houses", "dataset_version": "v1", "size_px": SIZE, "channels": 3}
    about |= {"created": datetime.now(UTC).isoformat(), "dtype": "uint8", "gsd_m": None, "parameters": {}}
    about |= {"split_plan": "", "scenes": {}, "windows": {"train": 20, "val": 10, "test": 10}}
    about |= {"positive_fractions": {}, "shards": [40]}
    (folder / "patchset.json").write_text(json.dumps(about))


def train(workspace):
    """Register a network whose hidden layer int8 cannot bear: one channel is a thousand times as large as the rest."""
    from satseg.models.keras.runtime import keras

    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(2, 1, activation="relu"),
            keras.layers.Conv2D(2, 1, activation="relu"),
            keras.layers.Conv2D(1, 1),
            keras.layers.Activation("sigmoid"),
        ]
    )
    first, second, last = (layer for layer in network.layers if layer.weights)
    first.set_weights([np.array([[[[1.0, 0], [0, 0], [0, 1000]]]]), np.zeros(2)])  # (red, 1000 · blue)
    second.set_weights([np.array([[[[1.0, 0], [0, 0.001]]]]), np.zeros(2)])
    last.set_weights([np.array([[[[0.1], [0.0]]]]), np.array([-12.95])])  # roofs from 129.5 on
    description = describe(
        project="houses",
        architecture="conv",
        patch_px=SIZE,
        gsd_m=None,
        mean=(120.0, 90.0, 90.0),
        std=(60.0, 1.0, 1.0),
        patch_set=PATCH_SET,
    )
    folder = workspace.root / "tiny"
    folder.mkdir()
    network.save(folder / "model.keras")
    (folder / "model.json").write_text(description.model_dump_json())
    tags = {"satseg.patch_set": PATCH_SET, "satseg.dataset_version": "v1"}
    with tracked_run(workspace, "houses", name="tiny", tags=tags, params={}) as run:
        run.log_model_files(folder, description.model_dump(mode="json"), np.zeros((1, SIZE, SIZE, 3), np.uint8))
    return run.id


@pytest.fixture(scope="module")
def world(tracked):
    """A workspace, its project, and version 1."""
    workspace = tracked
    project = ProjectConfig(name="houses", classes=("building",))
    write_patch_set(workspace)
    version = create_version(workspace, "houses", train(workspace), {}, "")
    return workspace, project, version


def exporting(world, file_format, precision="float32", **more):
    workspace, project, version = world
    spec = ExportSpec(project=project, version=version, format=file_format, precision=precision, **more)
    return export.run(spec, workspace)


def best(world):
    workspace, _, version = world
    ref = resolve_model(workspace, "houses", version)
    return best_engine(workspace, "houses", version, model_folder(workspace, ref))


def truth(world):
    """IoU of the network on the test split by plain NumPy."""
    folder = world[0].patch_set("houses", PATCH_SET)
    red, labels = np.load(folder / "images-00000.npy")[30:, ..., 0], np.load(folder / "masks-00000.npy")[30:] > 0
    return ((red >= 130) & labels).sum() / ((red >= 130) | labels).sum()


def test_without_exports_tensorflow_runs_the_model_and_others_are_asked_for_in_vain(world):
    workspace, _, version = world
    assert (best(world).engine, best(world).report) == ("tf", None)
    with pytest.raises(NotFoundError, match=r"no export for engine 'onnx'.*satseg export 1 --format onnx"):
        choose_engine(workspace, "houses", version, workspace.root, "onnx")


@pytest.mark.parametrize(
    ("file_format", "precision"), [("onnx", "float32"), ("tflite", "float32"), ("tflite", "float16")]
)
def test_float_exports_pass_with_a_true_report_and_are_made_once(world, file_format, precision):
    workspace, _, version = world
    result = exporting(world, file_format, precision)
    assert result.exported and not result.failures
    report = ParityReport.model_validate(result.parity)
    assert report.iou == pytest.approx(truth(world), abs=1e-3)
    assert report.iou_original == pytest.approx(truth(world), abs=1e-9)
    assert (report.windows, report.pixels) == (10, 10 * SIZE * SIZE)
    assert report.max_difference < (1e-5 if precision == "float32" else 0.1)
    assert min(report.latency_ms, report.latency_original_ms, report.speedup) > 0
    assert f"{file_format}-{precision}" in export_tags(workspace, "houses", version)
    again = exporting(world, file_format, precision)
    assert (again.changed, again.parity) == (False, result.parity)


def test_int8_passes_with_the_operations_in_float_that_it_cannot_bear(world):
    result = exporting(world, "tflite", "int8", calibration_windows=8)
    report = ParityReport.model_validate(result.parity)
    assert result.exported, result.failures
    assert 0 < report.float_operations < report.operations
    assert abs(report.iou - truth(world)) <= 0.005
    assert report.calibration_windows == 8


def test_auto_takes_the_fastest_export_that_passed(world):
    workspace, _, version = world
    found = exports(workspace, "houses", version)
    assert len(found) == 4
    assert [item.report.speedup for item in found] == sorted((item.report.speedup for item in found), reverse=True)
    chosen = best(world)
    assert chosen.engine == (found[0].report.engine if found[0].report.speedup > 1 else "tf")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    for engine in ("tf", "onnx", "litert", "litert_int8"):
        ref = resolve_model(workspace, "houses", version)
        choice = choose_engine(workspace, "houses", version, model_folder(workspace, ref), engine)
        red = pixels[..., :1].astype(int)
        clear = np.abs(red - 130) > 4
        assert choice.engine == engine
        assert ((choice.load().predict(pixels) >= 0.5) == (red >= 130))[clear].all()


def test_export_that_fails_is_not_marked_keeps_its_report_and_takes_an_old_mark_away(world, monkeypatch, capsys):
    workspace, _, version = world
    monkeypatch.setattr(parity, "MAX_IOU_DIFFERENCE", -1.0)
    monkeypatch.setenv("SATSEG_WORKSPACE", str(workspace.root))
    settings.cache_clear()
    projects = workspace.root / "projects"
    projects.mkdir(exist_ok=True)
    (projects / "houses.yaml").write_text("name: houses\nclasses: [building]\n")
    command = ["export", version, "--format", "onnx", "--force", "--json", "-p", str(projects / "houses.yaml")]
    assert cli.main(command) == 4
    settings.cache_clear()
    told = json.loads(capsys.readouterr().out)
    assert (told["exported"], told["file"]) == (False, None)
    assert "IoU differs by" in told["failures"][0]
    assert "onnx-float32" not in export_tags(workspace, "houses", version)
    monkeypatch.undo()
    with pytest.raises(NotFoundError):
        choose_engine(workspace, "houses", version, workspace.root, "onnx")


def test_mark_set_by_hand_counts_for_nothing(world, tmp_path, capsys):
    workspace, _, version = world
    report = ParityReport.model_validate(exporting(world, "tflite").parity)
    failed = report.model_copy(update={"iou": report.iou_original - 0.006, "key": "f" * 12, "speedup": 1000.0})
    write_parity(tmp_path, failed)
    (tmp_path / "model.tflite").write_bytes(b"x")
    run_id = resolve_model(workspace, "houses", version).run_id
    assert not store_export(workspace, "houses", version, run_id, tmp_path).passed
    assert "tflite-float32" not in export_tags(workspace, "houses", version)
    set_export_tag(workspace, "houses", version, "tflite-float32", f"exports/tflite-float32/refused-{'f' * 12}")
    assert "tflite-float32" not in {item.report.kind for item in exports(workspace, "houses", version)}
    assert "it cannot be used" in capsys.readouterr().err
    assert best(world).report is None or best(world).report.speedup < 1000


def test_what_cannot_be_exported_is_refused_before_any_work(world):
    workspace, project, _ = world
    with pytest.raises(ConfigurationError, match="ONNX is exported as float32 only, not int8"):
        exporting(world, "onnx", "int8")
    with pytest.raises(NotFoundError, match="There are: v1"):
        export.run(ExportSpec(project=project, version="7", format="onnx"), workspace)


def test_every_bound_is_needed_to_pass():
    good = ParityReport(
        key="k", format="tflite", precision="int8", file="f", sha256="s", size_bytes=1, original_bytes=1,
        patch_set="p", windows=1, pixels=1, max_difference=0.5, mean_difference=0.01, flipped_fraction=0.01, iou=0.6,
        iou_original=0.604, latency_ms=1, latency_original_ms=1, speedup=1, processors=1, made_at=datetime.now(UTC),
    )  # fmt: skip
    assert good.passed
    worse = {"iou": 0.598, "mean_difference": 0.03, "flipped_fraction": 0.03, "max_difference": float("nan")}
    for name, value in worse.items():
        assert len(good.model_copy(update={name: value}).failures()) == 1
    assert not good.model_copy(update={"iou": float("nan")}).passed
    assert not good.model_copy(update={"iou": 0.61}).passed  # another map is not a better one
