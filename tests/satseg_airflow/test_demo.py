"""The demo's plan, its progress lines and its table; the demo itself runs in tests/end_to_end."""

import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from satseg.errors import ConfigurationError
from satseg.storage.layout import Workspace
from satseg_airflow.demo.chain import Outcome
from satseg_airflow.demo.plan import free_workspace, own_scenes_plan, synthetic_plan
from satseg_airflow.demo.screen import LineScreen, LiveScreen, RunView, TaskView
from satseg_airflow.demo.summary import summary
from satseg_airflow.demo.training_log import TrainingLog
from satseg_airflow.demo.watch import _task_views, task_log


def outcome(**more: Any) -> Outcome:
    gates = [{"name": "no worse", "passed": False, "value": 0.5, "bound": 0.6, "evidence": "0.50 is below 0.60"}]
    drifted = {"verdict": "drift", "p_value": 0.002, "features": [{"feature": "haze", "drifted": True}]}
    base: dict[str, Any] = {
        "ingest": {"dataset_version": "v1", "scenes": ["a", "b"]},
        "patches": {"patch_set": "0123456789ab", "windows": {"train": 40, "val": 5, "test": 8}},
        "train": {"epochs": 9, "best_epoch": 7, "val_iou": 0.61, "run_id": "f" * 32},
        "evaluation": {"iou": 0.6, "dice": 0.75, "iou_all_positive": 0.25},
        "promotion": {"version": "1", "decision": "promoted"},
        "predictions": [
            {
                "objects": 12,
                **{kind: f"/w/a/v1/{kind}" for kind in ("probability", "classes", "polygons", "preview", "item")},
            }
        ],
        "quiet": {"verdict": "no drift", "p_value": 0.4, "features": []},
        "drifted": drifted,
        "report": {"report": "/w/drift/2026-03-02/report.html"},
        "retraining_run": "drift__buildings__2026-03-02",
        "retrained": {"iou": 0.5},
        "champion_again": {"iou": 0.6},
        "challenger": {"version": "2", "decision": "refused", "gates": gates},
    }
    return Outcome(**(base | more))


def test_nights_follow_each_other_and_end_today(tmp_path) -> None:
    plan = synthetic_plan(Workspace(tmp_path), "buildings", tonight=date(2026, 3, 1))
    assert (plan.quiet_night, plan.drifted_night) == ("2026-02-28", "2026-03-01")


def test_own_scenes_are_read_where_they_are_and_copies_are_made_in_the_workspace(tmp_path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(ConfigurationError, match="an empty folder"):
        own_scenes_plan(Workspace(tmp_path / "w"), "buildings", mine)
    (mine / "north.tif").touch()
    plan = own_scenes_plan(Workspace(tmp_path / "w"), "buildings", mine)
    assert plan.first.folder == mine
    assert plan.first.make == ()
    for arrival in (plan.quiet, plan.drifted):
        assert arrival.make[:2] == ("--from", str(mine))
        assert arrival.folder.is_relative_to(tmp_path / "w")


def test_missing_scenes_folder_is_named(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        own_scenes_plan(Workspace(tmp_path), "buildings", tmp_path / "nowhere")


def test_workspace_with_data_is_left_alone(tmp_path) -> None:
    assert free_workspace(tmp_path, "buildings").root == tmp_path
    (tmp_path / "data" / "buildings").mkdir(parents=True)
    assert free_workspace(tmp_path, "buildings").root == tmp_path / "demo-2"
    (tmp_path / "demo-2" / "airflow").mkdir(parents=True)
    (tmp_path / "demo-2" / "airflow" / "airflow.db").touch()
    assert free_workspace(tmp_path, "buildings").root == tmp_path / "demo-3"


def test_table_tells_scores_nights_and_the_reason_of_a_refusal(tmp_path) -> None:
    plan = synthetic_plan(Workspace(tmp_path), "buildings", tonight=date(2026, 3, 2))
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(plan, outcome(), 8.25))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "8.2 minutes", "v1: 2 scenes", "train 40, val 5, test 8", "IoU 0.600, Dice 0.750", "IoU 0.250, Dice 0.400",
        "+0.350", "version 1, promoted", "12 objects", "2026-03-01", "no drift", "no retraining",
        "drift__buildings__2026-03-02", "version 2, refused", "0.50 is below 0.60",
        "/w/drift/2026-03-02/report.html",
    ):  # fmt: skip
        assert words in text


def view(*states: str) -> TaskView:
    return TaskView("extract", list(states), 3.0)


def test_mapped_task_is_as_far_as_its_slowest_instance() -> None:
    assert view("success", "running", "queued").state == "running"
    assert view("success", "skipped").state == "success"
    assert view("skipped", "skipped").state == "skipped"
    assert view("success", "failed", "running").state == "failed"
    assert str(view("success", "running")) == "extract 1/2 running 3 s"


def test_lines_tell_each_change_once(capsys) -> None:
    screen = LineScreen()
    run = RunView("buildings.patch_generation", "r1", "running", 2.0, [view("running")])
    screen.show([run], "epoch 1/3: loss 0.500")
    screen.show([run], "epoch 1/3: loss 0.500")
    run.state, run.tasks = "success", [view("success")]
    screen.show([run], "")
    lines = capsys.readouterr().err.splitlines()
    assert sum("extract running" in line for line in lines) == 1
    assert sum("epoch 1/3" in line for line in lines) == 1
    assert sum("(r1) success" in line for line in lines) == 1


def test_terminal_shows_runs_and_epochs() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    screen = LiveScreen(console)
    with screen.live():
        screen.say("Training ...")
        screen.show(
            [RunView("buildings.model_training", "demo__first", "running", 9.0, [view("running")])], "epoch 1/3"
        )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Training ..." in text
    assert "epoch 1/3" in text


def test_latest_epoch_is_read_although_the_last_line_is_half_written(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    assert log.latest() == ""
    (tmp_path / "abc").mkdir()
    whole = {"epoch": 2, "epochs": 9, "loss": 0.41234, "val_iou": 0.5, "seconds": 3.0}
    (tmp_path / "abc" / "epochs.jsonl").write_text(json.dumps(whole) + '\n{"epoch": 3, "epo')
    assert log.latest() == "epoch 2/9: loss 0.412, val iou 0.500"


def test_task_instances_of_one_task_are_one_view_with_the_longest_time() -> None:
    start = "2026-03-01T00:00:00+00:00"
    base = {"task_id": "extract", "dag_id": "d", "dag_run_id": "r", "start_date": start}
    now = datetime(2026, 3, 1, 0, 0, 9, tzinfo=UTC)
    done = base | {"map_index": 0, "state": "success", "end_date": "2026-03-01T00:00:04+00:00"}
    going = base | {"map_index": 1, "state": "running", "end_date": None}
    (seen,) = _task_views([done, going], now)
    assert (seen.states, seen.seconds) == (["success", "running"], 9.0)


def test_log_of_a_mapped_task_is_found() -> None:
    task = {"dag_id": "d", "dag_run_id": "r", "task_id": "predict", "map_index": 2, "try_number": 3}
    path = Path("logs/dag_id=d/run_id=r/task_id=predict/map_index=2/attempt=3.log")
    assert task_log(Path("logs"), task) == path
