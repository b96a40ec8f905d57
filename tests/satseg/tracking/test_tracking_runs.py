import json
from datetime import UTC, datetime

import numpy as np
import pytest

from satseg.config.settings import settings
from satseg.errors import BadDataError, InterruptedRunError, NotFoundError, TemporaryError
from satseg.storage.layout import Workspace
from satseg.tracking import models, runs

pytestmark = pytest.mark.slow

DESCRIPTION = {
    "classes": ["building"],
    "bands": ["red"],
    "dtype": "uint16",
    "architecture": "linknet",
    "backbone": "resnet18",
}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> Workspace:
    """One MLflow database for the module: making it takes seconds."""
    return Workspace(tmp_path_factory.mktemp("tracking"))


@pytest.fixture(scope="module")
def model_run(tracked, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.keras").write_bytes(b"weights")
    (folder / "model.json").write_text(json.dumps(DESCRIPTION))
    with runs.tracked_run(tracked, "p", name="first", tags={"satseg.patch_set": "a"}, params={"a": None}) as run:
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_model_files(folder, DESCRIPTION, np.zeros((1, 32, 32, 1), np.uint16))
    return run.id


def test_a_run_keeps_what_was_logged_and_takes_more_later(tracked, model_run, tmp_path):
    report = tmp_path / "report.txt"
    report.write_text("fine")
    runs.log_to_run(tracked, model_run, metrics={"test_iou": 0.7}, tags={"seen": "yes"}, files={report: "evaluation"})
    record = runs.get_run(tracked, model_run)
    assert (record.status, record.params["a"]) == ("FINISHED", "null")
    assert record.metrics["loss"] == 0.5
    assert record.metrics["test_iou"] == 0.7
    assert record.ended_at >= record.started_at
    assert [found.id for found in runs.find_runs(tracked, "p", {"satseg.patch_set": "a", "seen": "yes"})] == [model_run]
    assert runs.find_runs(tracked, "p", {"seen": "no"}) == []
    assert runs.find_runs(tracked, "other project", {}) == []


def test_how_a_run_ends_shows_in_its_status_and_it_can_go_on(tracked):
    with pytest.raises(ZeroDivisionError), runs.tracked_run(tracked, "p", name="x", tags={}, params={}) as failed:
        1 / 0  # noqa: B018
    assert runs.get_run(tracked, failed.id).status == "FAILED"
    with (
        pytest.raises(InterruptedRunError),
        runs.tracked_run(tracked, "p", name="y", tags={}, params={"b": 1}) as stopped,
    ):
        raise InterruptedRunError("stop")
    assert runs.get_run(tracked, stopped.id).status == "KILLED"
    with runs.tracked_run(tracked, "p", name="y", tags={}, params={"b": 1}, run_id=stopped.id) as again:
        assert runs.get_run(tracked, again.id).status == "RUNNING"
    assert again.id == stopped.id
    assert runs.get_run(tracked, again.id).status == "FINISHED"


def test_a_model_is_found_by_version_alias_run_and_uri(tracked, model_run):
    version = models.create_version(tracked, "p", model_run, {"gate": "passed"}, "the first")
    models.set_alias(tracked, "p", "champion", version)
    models.set_version_tags(tracked, "p", version, {"stage": "Production"})
    (record,) = models.versions(tracked, "p")
    assert record.tags == {"gate": "passed", "stage": "Production"}
    assert (record.aliases, record.description) == (("champion",), "the first")
    for reference in ("champion", "1", "v1", model_run, model_run[:10], "models:/p/1", "models:/p@champion"):
        ref = models.resolve_model(tracked, "p", reference)
        assert (ref.run_id, ref.label) == (model_run, "v1"), reference
    folder = models.model_folder(tracked, ref)
    assert (folder / "model.keras").read_bytes() == b"weights"
    assert folder.is_relative_to(tracked.mlflow / "artifacts")
    with pytest.raises(NotFoundError, match=r"No model 'challenger'.*v1 @champion"):
        models.resolve_model(tracked, "p", "challenger")
    with pytest.raises(NotFoundError, match="Nothing is registered yet"):
        models.resolve_model(tracked, "empty", "champion")
    models.delete_alias(tracked, "p", "champion")
    assert models.alias_version(tracked, "p", "champion") is None


def test_a_run_without_a_model_says_so(tracked):
    with runs.tracked_run(tracked, "p", name="bare", tags={}, params={}) as run:
        pass
    ref = models.resolve_model(tracked, "p", run.id)
    assert ref.label == run.id[:12]
    with pytest.raises(BadDataError, match=f"{run.id} has no model"):
        models.model_folder(tracked, ref)
    with pytest.raises(NotFoundError, match="No MLflow run"):
        runs.get_run(tracked, "0" * 32)


def test_an_mlflow_that_does_not_answer_is_temporary_and_named(tracked, monkeypatch):
    monkeypatch.setenv("SATSEG_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings.cache_clear()
    try:
        with pytest.raises(TemporaryError, match=r"http://127.0.0.1:9 does not answer"):
            runs.find_runs(tracked, "p", {})
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_every_value_of_a_metric_is_kept_in_order(tracked):
    with runs.tracked_run(tracked, "p", name="tiny", tags={}, params={}) as run:
        for step, value in enumerate((0.1, 0.3, 0.2), start=1):
            run.log_metrics({"val_iou": value}, step)
    history = runs.metric_history(tracked, run.id, ["val_iou", "never"])
    assert [(point.step, point.value) for point in history["val_iou"]] == [(1, 0.1), (2, 0.3), (3, 0.2)]
    assert history["never"] == []


def test_a_value_that_is_sent_again_is_kept_once(tracked):
    measured_at = datetime(2026, 11, 23, 10, tzinfo=UTC)
    with runs.tracked_run(tracked, "p", name="twice", tags={}, params={}) as run:
        run.log_metrics({"val_iou": 0.1, "loss": 0.7}, 1, measured_at)
        run.log_metrics({"val_iou": 0.1, "loss": 0.7}, 1, measured_at)
        run.log_metrics({"val_iou": 0.1}, 2, measured_at)  # an epoch may be as good as the last
    history = runs.metric_history(tracked, run.id, ["val_iou", "loss"])
    assert [(point.step, point.value, point.time) for point in history["val_iou"]] == [
        (1, 0.1, measured_at),
        (2, 0.1, measured_at),
    ]
    assert len(history["loss"]) == 1
