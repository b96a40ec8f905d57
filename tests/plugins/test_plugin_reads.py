"""What the routes tell is what satseg's own files and MLflow say."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from plugin_server import API, Server

PROJECT = f"{API}/projects/houses"


def get(server: Server, path: str, status: int = 200):
    url = path if path.startswith(API) else f"{PROJECT}{path}"
    answer = server.client.get(url, headers=server.bearer("viewer"))
    assert answer.status_code == status, answer.text
    return answer


def test_projects_are_listed_with_what_is_wrong_in_a_file(server) -> None:
    broken = server.projects / "water.yaml"
    broken.write_text("name: water\nclasses: [water]\ntrainig: {}\n")
    try:
        listed = get(server, f"{API}/projects").json()
        shown = server.client.get(f"{API}/projects/water", headers=server.bearer("viewer"))
    finally:
        broken.unlink()
    assert [row["name"] for row in listed["items"]] == ["houses", "roads", "water"]
    assert "did you mean 'training'" in listed["items"][2]["broken"]
    assert shown.status_code == 422
    assert get(server, "").json()["config"]["gsd_m"] == 0.5


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fetc%2Fpasswd", "Houses", "houses.yaml"])
def test_what_is_no_project_is_not_found(server, name) -> None:
    answer = server.client.get(f"{API}/projects/{name}", headers=server.bearer("admin"))
    assert answer.status_code in {404, 422}


def test_pages_of_a_list_join_up(server) -> None:
    whole = get(server, "/drift/nights").json()
    parts = [get(server, f"/drift/nights?limit=3&offset={offset}").json() for offset in (0, 3)]
    assert [row for part in parts for row in part["items"]] == whole["items"]
    assert (parts[0]["total"], parts[0]["limit"], parts[1]["offset"]) == (4, 3, 3)
    assert get(server, "/drift/nights?offset=1000").json()["items"] == []
    for query in ("limit=0", "limit=501", "offset=-1", "limit=x"):
        assert get(server, f"/drift/nights?{query}", 422).json()["errors"]


def test_versions_newest_first_with_counts_and_scenes(server) -> None:
    versions = get(server, "/dataset-versions").json()["items"]
    assert [row["version"] for row in versions] == ["v3", "v2", "v1"]
    assert (versions[0]["scenes"], versions[0]["labelled"]) == (4, 0)
    newest = get(server, "/dataset-versions/newest?limit=2").json()
    assert newest["version"] == "v3"
    assert [row["scene"] for row in newest["scene_list"]["items"]] == ["scene-0", "scene-1"]
    assert newest["scene_list"]["total"] == 4
    assert get(server, "/dataset-versions/v1/diff/3").json()["metadata_changed"] == [f"scene-{n}" for n in range(4)]
    assert "no dataset version" in get(server, "/dataset-versions/v9", 404).json()["detail"]


def test_split_map_shows_the_kept_windows(server) -> None:
    (row,) = get(server, "/patch-sets").json()["items"]
    assert row["windows"] == {"train": 60, "val": 20, "test": 20}
    shown = get(server, f"/patch-sets/{row['id']}/split-map?limit=1&offset=1").json()
    (scene,) = shown["scenes"]
    assert (scene["scene"], scene["width"], len(scene["windows"]), shown["total"]) == ("scene-1", 320, 25, 4)
    assert {window["split"] for window in scene["windows"] if window["row"] < 192} == {"train"}


def test_champion_card_has_interval_gates_and_who(server) -> None:
    champion = get(server, "/models/champion").json()
    assert (champion["version"], champion["goes_back_to"], champion["promoted_by"]) == ("2", "1", "gates")
    assert (champion["score"]["iou"], champion["score"]["low"], champion["score"]["high"]) == (0.61, 0.55, 0.66)
    assert champion["gates"][0]["outcome"] == "passed"
    assert [(entry["from"], entry["to"]) for entry in champion["history"]] == [("1", "2")]
    rows = get(server, "/models").json()["items"]
    assert [(row["version"], row["aliases"]) for row in rows] == [
        ("3", ["challenger"]),
        ("2", ["champion"]),
        ("1", ["previous"]),
    ]
    compared = get(server, "/models/champion/compare/challenger").json()
    assert {pair["score"] for pair in compared["scores"]} >= {"iou", "dice"}
    assert [row["to"] for row in get(server, "/audit").json()["items"]] == ["2", "1"]
    assert get(server, "/models/v99", 404).json()["title"] == "Not Found"


def test_metrics_of_a_run_epoch_by_epoch_and_only_of_the_own_project(server) -> None:
    points = get(server, f"/runs/{server.runs[0]}/metrics?name=val_iou").json()["metrics"]["val_iou"]
    assert [(point["step"], round(point["value"], 2)) for point in points] == [(1, 0.2), (2, 0.4), (3, 0.6)]
    other = server.client.get(f"{API}/projects/roads/runs/{server.runs[0]}/metrics", headers=server.bearer("viewer"))
    assert other.status_code == 404


def test_a_training_shows_its_run_while_mlflow_hears_of_it(server) -> None:
    from satseg.storage.layout import Workspace
    from satseg.tracking.connection import client

    started = server.client.post(f"{PROJECT}/trainings", json={}, headers=server.bearer("user")).json()
    with client(Workspace(server.workspace)) as mlflow:
        experiment = mlflow.get_experiment_by_name("houses").experiment_id
        tags = {"satseg.dag_run": f"{started['dag_id']}/{started['dag_run_id']}"}
        run = mlflow.create_run(experiment, tags=tags).info.run_id
        mlflow.log_param(run, "epochs", 30)
        mlflow.log_metric(run, "val_iou", 0.5, step=7)
    shown = get(server, f"/trainings/{started['dag_run_id'].replace('+', '%2B')}").json()
    (tracked,) = shown["runs"]
    assert (tracked["run_id"], tracked["status"], tracked["epoch"], tracked["epochs"]) == (run, "RUNNING", 7, 30)
    assert {task["task_id"] for task in shown["tasks"]} >= {"train", "evaluate", "register"}


def test_wrong_values_of_a_form_are_named(server) -> None:
    for form, field in (({"epochs": 0}, "epochs"), ({"backbone": 5}, "backbone"), ({"epoch": 3}, "epoch")):
        answer = server.client.post(f"{PROJECT}/trainings", json=form, headers=server.bearer("user"))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field
    refused = server.client.post(f"{PROJECT}/trainings", json={"backbone": "none"}, headers=server.bearer("user"))
    assert refused.status_code == 422
    assert "Airflow refuses" in refused.json()["detail"]
    assert server.client.post(f"{PROJECT}/trainings", content=b"{", headers=server.bearer("user")).status_code == 422


# --- damage: one broken file takes nothing else away ---------------------------------------------------------------
@contextmanager
def damaged(path: Path, content: bytes) -> Iterator[None]:
    """Put something else in the place of a file for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_a_project_file_that_leads_nowhere_hides_no_other_project(server) -> None:
    link = server.projects / "lost.yaml"
    link.symlink_to("/nowhere/lost.yaml")
    try:
        rows = get(server, f"{API}/projects").json()["items"]
        health = get(server, f"{API}/health").json()
        get(server, f"{API}/session")
        assert "cannot be read" in get(server, f"{API}/projects/lost", 422).json()["detail"]
        get(server, "/loop")
    finally:
        link.unlink()
    assert [(row["name"], bool(row["broken"])) for row in rows] == [("houses", False), ("lost", True), ("roads", False)]
    assert next(one["status"] for one in health["components"] if one["name"] == "projects") == "bad"


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"[1]", b"", b'{"properties": 3}', b"\xff"])
def test_a_damaged_prediction_is_named_and_the_others_are_listed(server, content) -> None:
    with damaged(server.workspace / "predictions/houses/scene-1/v1/item.json", content):
        listed = get(server, "/predictions").json()
        one = get(server, "/predictions/scene-1/v1", 500).json()
        get(server, "/predictions/scene-0/v1")
    assert (len(listed["items"]), listed["total"]) == (3, 4)
    assert [why for why in listed["damaged"] if "scene-1/v1/item.json is damaged" in why] == listed["damaged"] != []
    assert "Remove the folder and map scene scene-1" in one["detail"]
    assert get(server, "/predictions").json()["damaged"] == []


def test_the_loop_is_shown_when_a_stage_cannot_be_read(server) -> None:
    (patch_set,) = (server.workspace / "patches/houses").glob("*/patchset.json")
    with damaged(patch_set, b"{"):
        stages = {stage["stage"]: stage for stage in get(server, "/loop").json()["stages"]}
        assert "patchset.json is damaged" in get(server, "/patch-sets", 500).json()["detail"]
    assert (stages["patch"]["product"], stages["ingest"]["product"]) == ("cannot be read", "v3")
    with damaged(patch_set.with_name("manifest.parquet"), b"{"):
        url = f"/patch-sets/{patch_set.parent.name}/split-map"
        assert "cut the patches again" in get(server, url, 500).json()["detail"]


def test_a_map_whose_raster_is_away_is_named(server) -> None:
    raster = server.workspace / "predictions/houses/scene-2/v1/classes.tif"
    away = raster.rename(raster.with_name("away"))
    try:
        assert "classes.tif" in get(server, "/predictions/scene-2/v1/tiles/classes/0/0/0.png", 500).json()["detail"]
    finally:
        away.rename(raster)


# --- pictures -----------------------------------------------------------------------------------------------------
def picture(answer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_tiles_put_together_are_the_map(server) -> None:
    shown = get(server, "/predictions/scene-0/v1").json()["map"]
    assert (shown["width"], shown["max_zoom"], shown["scene_pixels"]) == (320, 1, True)
    whole = np.zeros((512, 512, 4), np.uint8)
    for x in (0, 1):
        for y in (0, 1):
            url = shown["layers"]["classes"].format(z=1, x=x, y=y)
            whole[256 * y : 256 * (y + 1), 256 * x : 256 * (x + 1)] = picture(get(server, url))
    with rasterio.open(server.workspace / "predictions/houses/scene-0/v1/classes.tif") as raster:
        assert np.array_equal(whole[:320, :320, 3] > 0, raster.read(1) > 0)
    assert not whole[320:].any()
    assert not whole[:, 320:].any()


def test_the_scene_is_shown_where_it_has_data_and_layers_lie_over_each_other(server) -> None:
    pictures = {
        layer: picture(get(server, f"/predictions/scene-0/v1/picture/{layer}.png?max_px=160"))
        for layer in ("scene", "classes", "probability")
    }
    assert {drawn.shape for drawn in pictures.values()} == {(160, 160, 4)}
    assert not pictures["scene"][:9, :9, 3].any()  # no data
    assert pictures["scene"][20:, 20:, 3].all()
    assert (pictures["probability"][60:90, 60:90, 3] == 255).all()
    assert not pictures["probability"][:40, :40, 3].any()


@pytest.mark.parametrize("tile", ["classes/2/0/0", "classes/1/2/0", "classes/1/0/9", "classes/0/1/0"])
def test_tiles_outside_of_the_map_are_not_found(server, tile) -> None:
    get(server, f"/predictions/scene-0/v1/tiles/{tile}.png", 404)


def test_pixels_that_changed_since_are_not_shown_as_those_that_were_predicted(server) -> None:
    path = server.workspace / "data/houses/items/scene-1.json"
    item = json.loads(path.read_text())
    path.write_text(json.dumps(item | {"properties": item["properties"] | {"satseg:checksum": "0" * 64}}))
    try:
        assert get(server, "/predictions/scene-1/v1").json()["map"]["scene_pixels"] is False
        get(server, "/predictions/scene-1/v1/picture/scene.png", 404)
    finally:
        path.write_text(json.dumps(item))


def test_files_come_with_ranges_and_only_those_the_item_names(server) -> None:
    row = get(server, "/predictions?scene=scene-0").json()["items"][0]
    by_name = {file["name"]: file for file in row["files"]}
    assert get(server, by_name["polygons.geojson"]["url"]).headers["content-type"] == "application/geo+json"
    part = server.client.get(by_name["classes.tif"]["url"], headers=server.bearer("viewer") | {"Range": "bytes=0-3"})
    assert (part.status_code, part.content[:2]) == (206, b"II")
    (server.workspace / "predictions/houses/scene-0/v1/secret.txt").write_text("x")
    for name in ("secret.txt", "..%2Fitem.json", ".item.json"):
        answer = server.client.get(f"{PROJECT}/predictions/scene-0/v1/files/{name}", headers=server.bearer("viewer"))
        assert answer.status_code in {404, 422}


# --- drift, lineage, health, approvals ----------------------------------------------------------------------------
def test_trend_has_columns_of_one_length_and_marks_the_alarm(server) -> None:
    trend = get(server, "/drift/trend?nights=3").json()
    assert trend["nights"] == ["2026-01-02", "2026-01-03", "2026-01-04"]
    assert trend["alarm"] == trend["drifted"] == [False, False, True]
    assert {len(column) for column in trend["distances"].values()} == {3}
    state = get(server, "/drift").json()
    assert (state["latest"]["night"], state["episode"]["night"]) == ("2026-01-04", "2026-01-04")
    assert state["status"]["confirmed"] is False
    assert get(server, "/drift/nights/2026-13-01", 422).json()["detail"].startswith("Night '2026-13-01' is no")


def test_lineage_of_a_prediction_and_of_nothing(server) -> None:
    found = get(server, "/lineage?target=prediction:scene-0/v1").json()
    assert [node["kind"] for node in found["chain"]][:2] == ["prediction", "model_version"]
    get(server, "/lineage?target=nothing", 404)
    for target in ("/etc/passwd", "..", "prediction:../../x", "prediction:..%2Fx%2Fy"):
        get(server, f"/lineage?target={target}", 422)


def test_health_names_what_is_bad_and_every_dag(server) -> None:
    health = get(server, f"{API}/health").json()
    states = {component["name"]: component["status"] for component in health["components"]}
    assert (states["metadatabase"], states["mlflow"], states["projects"]) == ("ok", "ok", "ok")
    assert states["scheduler"] == "bad"  # none runs here
    assert health["status"] == "degraded"
    assert {dag["dag_id"] for dag in health["dags"]} >= {"houses.model_registration", "roads.drift_detection"}
    assert health["disk"]["total_bytes"] > health["disk"]["free_bytes"] > 0
    assert [device["leased"] for device in health["devices"]] == [False]


def test_loop_names_the_newest_of_each_stage(server) -> None:
    stages = {stage["stage"]: stage for stage in get(server, "/loop").json()["stages"]}
    assert {name: stages[name]["product"] for name in ("ingest", "train", "promote", "drift")} == {
        "ingest": "v3",
        "train": "v3",
        "promote": "v2",
        "drift": "2026-01-04",
    }
    assert stages["retrain"]["product"] is None
    assert list(stages) == ["ingest", "patch", "train", "promote", "predict", "drift", "retrain"]


def waiting_promotion(server: Server) -> str:
    """Start a promotion of `roads` and let it ask a person, as the scheduler and the operator do."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    url = f"{API}/projects/roads/models/1/promotion"
    run = server.client.post(url, json={}, headers=server.bearer("op")).json()["dag_run_id"]
    with create_session() as session:
        asked = select(TaskInstance).where(TaskInstance.run_id == run, TaskInstance.dag_id == "roads.model_promotion")
        task = next(task for task in session.scalars(asked) if task.task_id == "approval")
        task.state = "awaiting_input"
        about = {
            "options": ["Approve", "Reject"],
            "subject": "Promote version 1?",
            "body": "gates",
            "params": {"why": ""},
        }
        session.add(HITLDetail(ti_id=task.id, defaults=["Reject"], multiple=False, **about))
    return run


def test_a_waiting_promotion_is_listed_and_answered_once_by_an_operator(server) -> None:
    run = waiting_promotion(server)
    roads = f"{API}/projects/roads"
    (question,) = server.client.get(f"{roads}/approvals", headers=server.bearer("viewer")).json()["items"]
    assert (question["dag_run_id"], question["subject"]) == (run, "Promote version 1?")
    states = server.client.get(f"{roads}/loop", headers=server.bearer("viewer")).json()["stages"]
    assert next(stage["state"] for stage in states if stage["stage"] == "promote") == "waiting"
    url, body = f"{roads}/approvals/{run.replace('+', '%2B')}", {"approve": False, "reason": "roofs are missing"}
    assert server.client.post(url, json=body, headers=server.bearer("user")).status_code == 403
    answer = server.client.post(url, json=body, headers=server.bearer("op"))
    assert answer.json() == {"dag_run_id": run, "approved": False, "by": "op"}
    assert server.client.post(url, json=body, headers=server.bearer("admin")).status_code == 409
    assert server.client.get(f"{roads}/approvals", headers=server.bearer("viewer")).json()["items"] == []
