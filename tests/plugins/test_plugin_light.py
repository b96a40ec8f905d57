"""What the plugin does not do: import heavy things where they are not needed, run stages, stop the event loop."""

import ast
import json
import os
import subprocess
import sys
import threading
import time
from importlib.metadata import packages_distributions

import pytest
from packaging.utils import canonicalize_name
from plugin_server import API

from airflow_home import ROOT
from plugin_imports import modules_of_the_plugin

PACKAGE = ROOT / "plugins" / "satseg_ui"
FILES = sorted(PACKAGE.rglob("*.py"))
STAGE_RUNNERS = ("satseg.cli", "satseg.models.keras", "satseg.training", "satseg.serving", "satseg_airflow.operators")
AT_THE_TOP = (
    "satseg.config", "satseg.errors", "satseg.stages", "satseg.storage", "satseg_ui", "airflow", "fastapi", "starlette",
    "pydantic", "sqlalchemy", "httpx", "anyio",
)  # fmt: skip


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_reaches_for_stages_and_heavy_things_are_imported_when_needed(path) -> None:
    tree = ast.parse(path.read_text())
    assert not [name for name in imported(tree) if name.startswith((*STAGE_RUNNERS, "mlflow"))]
    top = set().union(*(imported(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)), set())
    others = {name for name in top if name.partition(".")[0] not in sys.stdlib_module_names}
    assert not [name for name in others if not name.startswith(AT_THE_TOP)]


def test_loading_the_plugin_costs_other_components_of_airflow_next_to_nothing() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import airflow.plugins_manager, airflow.configuration;"
        "before = set(sys.modules); import satseg_plugin;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'fastapi', 'starlette', 'mlflow', 'pandas', 'rasterio', 'satseg', 'numpy'}))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "plugins")], capture_output=True, text=True, check=True
    )
    assert made.stdout.splitlines()[-1] == "[]"


def test_airflow_loads_one_plugin_and_shows_it_in_the_navigation(server) -> None:
    answer = server.client.get("/api/v2/plugins", headers=server.bearer("admin")).json()
    (plugin,) = [plugin for plugin in answer["plugins"] if plugin["name"] == "satseg"]
    assert plugin["fastapi_apps"][0]["url_prefix"] == "/satseg"
    (view,) = plugin["external_views"]
    assert (view["href"], view["destination"], view["url_route"]) == ("/satseg/page/", "nav", "satseg")
    errors = server.client.get("/api/v2/plugins/importErrors", headers=server.bearer("admin")).json()
    assert errors["import_errors"] == []


def test_tensorflow_and_great_expectations_never_come_into_the_server(server) -> None:
    headers = server.bearer("viewer")
    for path in ("models/champion", "lineage?target=champion", "drift", "predictions/scene-0/v1/picture/scene.png"):
        assert server.client.get(f"{API}/projects/houses/{path}", headers=headers).status_code == 200
    code = (
        "import satseg_ui.app, satseg.registry.overview, satseg.lineage.chain, satseg.drift.status, sys;"
        "import satseg.inference.tiles;"
        "print([name for name in ('tensorflow', 'great_expectations', 'dvc') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert made.stdout.splitlines()[-1] == "[]"


def test_what_it_reads_with_needs_no_package_that_the_orchestrators_image_lacks() -> None:
    pins = (ROOT / "docker" / "requirements" / "airflow.txt").read_text()
    there = {canonicalize_name(line.partition("==")[0]) for line in pins.splitlines() if "==" in line} | {"satseg"}
    lacking = [
        name for name, of in packages_distributions().items() if not there & {canonicalize_name(one) for one in of}
    ]
    assert {"cv2", "tensorflow", "great_expectations", "dvc"} <= set(lacking)
    assert not {"rasterio", "mlflow", "shapely"} & set(lacking)
    code = (
        "import importlib, json, sys; lacking, wanted = map(json.loads, sys.argv[1:]);"
        "sys.modules.update(dict.fromkeys(lacking));"  # None: as if it were not installed
        "[importlib.import_module(name) for name in wanted]"
    )
    words = [json.dumps(lacking), json.dumps(modules_of_the_plugin())]
    made = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def test_a_slow_answer_keeps_nobody_else_waiting(server, monkeypatch) -> None:
    from satseg_ui.routes import health

    release = threading.Event()
    monkeypatch.setattr(health, "_mlflow", lambda: release.wait(60) and health.Component(name="mlflow", status="ok"))
    headers = {"headers": server.bearer("viewer")}
    slow = threading.Thread(target=server.client.get, args=(f"{API}/health",), kwargs=headers)
    slow.start()
    time.sleep(0.2)
    try:
        assert server.client.get("/api/v2/version").status_code == 200
        assert server.client.get(f"{API}/session", headers=server.bearer("viewer")).status_code == 200
        assert slow.is_alive()
    finally:
        release.set()
        slow.join(60)


def test_the_page_sends_its_own_files_alone(server) -> None:
    headers = server.bearer("viewer")
    assert "<!doctype html>" in server.client.get("/satseg/page/", headers=headers).text.lower()
    for path in ("..%2Fapp.py", "%2e%2e/app.py", "..%2F..%2F..%2Fetc%2Fpasswd", "app.py", "%2Fetc%2Fpasswd"):
        assert server.client.get(f"/satseg/page/{path}", headers=headers).status_code == 404
