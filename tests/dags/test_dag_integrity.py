"""Every DAG imports, is short, fast and light, and carries what operators of a pipeline expect."""

from pathlib import Path
from typing import Any

import pytest
from parsed_dags import ROOT, describe

NAMES = (
    "scene_ingestion", "patch_generation", "model_training", "model_promotion", "scene_inference",
    "drift_detection", "model_retraining", "model_registration",
)  # fmt: skip
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))


def tasks(seen: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{dag_id}.{task_id}", task) for dag_id, dag in seen["dags"].items() for task_id, task in dag["tasks"].items()
    ]


def test_no_import_errors_and_eight_dags_per_project(seen) -> None:
    assert seen["import_errors"] == {}
    assert set(seen["dags"]) == {f"{project}.{name}" for project in ("buildings", "roads", "trees") for name in NAMES}


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.name)
def test_dag_file_is_shorter_than_60_lines_and_imports_only_the_adapter(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 60
    allowed = (
        "satseg_airflow",
        "satseg.config",
        "satseg.stages",
        "airflow.sdk",
        "airflow.providers.standard",
        "datetime",
    )
    imported = [line.split()[1] for line in lines if line.startswith(("import ", "from "))]
    assert all(module.startswith(allowed) for module in imported), imported


def test_every_file_parses_within_a_second(seen) -> None:
    assert len(seen["seconds"]) == len(DAG_FILES)
    assert all(seconds < 1 for seconds in seen["seconds"].values()), seen["seconds"]


@pytest.mark.parametrize(
    "library", ["tensorflow", "tf_keras", "mlflow", "dvc", "great_expectations", "rasterio", "matplotlib"]
)
def test_parsing_imports_no_heavy_library(seen, library: str) -> None:
    assert library not in seen["modules"]


def test_every_task_has_retries_timeout_owner_doc_and_notifier(seen) -> None:
    for name, task in tasks(seen):
        assert task["owner"] == "satseg", name
        assert task["retries"] >= 1, name
        assert task["timeout_s"], name
        assert task["doc"], name
        assert task["callback"], name


def test_every_dag_has_doc_and_tags_and_does_not_catch_up(seen) -> None:
    for dag_id, dag in seen["dags"].items():
        assert dag["doc"], dag_id
        assert dag["tags"] == sorted(["satseg", dag_id.partition(".")[0]])
        assert dag["catchup"] is False
        assert dag["max_active_runs"] == 1
        assert dag["serialized"]


def test_every_form_field_is_typed_and_described(seen) -> None:
    for dag_id, dag in seen["dags"].items():
        assert dag["params"], dag_id
        for name, schema in dag["schemas"].items():
            assert schema.get("type"), f"{dag_id}: {name}"
            assert dag["descriptions"][name], f"{dag_id}: {name}"


def test_tasks_that_need_the_model_wait_for_the_gpu_pool(seen) -> None:
    in_pool = {
        name.removeprefix("buildings.") for name, task in tasks(seen) if task["pool"] == "gpu" and "buildings" in name
    }
    assert {"model_training.train", "model_training.evaluate", "scene_inference.predict"} <= in_pool
    assert {"model_retraining.train", "model_retraining.evaluate_champion", "model_retraining.evaluate_new"} <= in_pool


def test_a_project_without_a_search_space_has_one_training_task(seen) -> None:
    assert set(seen["dags"]["buildings.model_training"]["tasks"]) == {
        "train",
        "evaluate",
        "register",
        "publish_challenger",
    }
    assert "trials" not in seen["dags"]["buildings.model_training"]["params"]


def test_tasks_that_hold_a_device_run_on_the_gpu_workers_and_no_others(seen) -> None:
    queues = {name: (task["pool"], task["queue"]) for name, task in tasks(seen)}
    assert set(queues.values()) == {("default_pool", "default"), ("gpu", "gpu")}, queues


def test_a_search_space_maps_trials_over_the_gpu_pool_and_the_best_goes_on(seen) -> None:
    dag = seen["dags"]["trees.model_training"]
    found = dag["tasks"]
    assert "train" not in found
    assert found["trial"]["mapped"]
    assert (found["trial"]["pool"], found["trial"]["slots"]) == ("gpu", 2)
    assert found["plan"]["pool"] == found["best"]["pool"] == "default_pool"
    assert found["trial"]["downstream"] == ["best"]
    assert found["best"]["trigger_rule"].lower().endswith("all_done")  # a trial that is killed for good blocks nothing
    assert found["best"]["downstream"] == ["evaluate"]
    assert dag["params"]["trials"] == 5


def test_work_on_scenes_is_mapped(seen) -> None:
    mapped = {name for name, task in tasks(seen) if task["mapped"] and name.startswith("buildings")}
    assert mapped == {
        "buildings.patch_generation.extract",
        "buildings.model_retraining.extract",
        "buildings.scene_inference.predict",
        "buildings.drift_detection.profile",
    }


def test_each_asset_is_published_by_a_task_of_its_own(seen) -> None:
    published = {
        name: task["outlets"] for name, task in tasks(seen) if task["outlets"] and name.startswith("buildings")
    }
    assert published == {
        "buildings.scene_ingestion.publish_dataset": ["buildings.dataset"],
        "buildings.patch_generation.publish_patches": ["buildings.patches"],
        "buildings.model_training.publish_challenger": ["buildings.challenger"],
        "buildings.model_retraining.publish_challenger": ["buildings.challenger"],
        "buildings.model_registration.publish_challenger": ["buildings.challenger"],
        "buildings.model_promotion.publish_champion": ["buildings.champion"],
    }


def test_approval_is_there_only_where_the_project_asks_for_it(seen) -> None:
    assert "approval" not in seen["dags"]["buildings.model_promotion"]["tasks"]
    asked = seen["dags"]["roads.model_promotion"]["tasks"]
    assert asked["gates"]["downstream"] == ["approval", "promote"]
    assert asked["approval"]["downstream"] == ["promote"]


def test_schedules_follow_the_project_file(seen) -> None:
    schedules = {dag_id: dag["schedule"] for dag_id, dag in seen["dags"].items()}
    assert schedules["buildings.drift_detection"] == "CronDataIntervalTimetable"
    assert schedules["roads.drift_detection"] == "NullTimetable"
    assert schedules["buildings.scene_ingestion"] == "NullTimetable"
    assert schedules["roads.scene_ingestion"] == "CronTriggerTimetable"
    assert schedules["buildings.scene_inference"] == "AssetTriggeredTimetable"
    assert schedules["roads.scene_inference"] == "AssetOrTimeSchedule"


def test_training_form_shows_the_project_values(seen) -> None:
    form = seen["dags"]["roads.model_training"]["params"]
    assert (form["epochs"], form["architecture"], form["backbone"]) == (30, "linknet", "efficientnetb0")


def test_broken_project_file_is_an_import_error_and_hides_no_other_project(tmp_path) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    (projects / "roads.yaml").write_text("name: roads\nclasses: [road]\n")
    (projects / "water.yaml").write_text("name: water\nclasses: [water]\ntrainig: {epochs: 3}\n")
    (projects / "trees.yaml").write_text("name: [")
    seen = describe(tmp_path / "airflow", projects)
    assert set(seen["dags"]) == {f"roads.{name}" for name in NAMES}
    (error,) = seen["import_errors"].values()
    assert str(projects / "water.yaml") in error
    assert "did you mean 'training'" in error
    assert str(projects / "trees.yaml") in error
