"""Airflow's own API app with the plugin in it, its DAGs in a real database, and two projects in a workspace."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_server import Server
from starlette.testclient import TestClient

import airflow_home

sys.path[:0] = [str(airflow_home.ROOT / "benchmarks"), str(airflow_home.ROOT / "plugins")]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Project `houses` promotes by itself, `roads` asks a person."""
    from plugin_world import Size, make_project

    from satseg.config.settings import settings
    from satseg.storage.layout import Workspace

    root = tmp_path_factory.mktemp("plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SATSEG_WORKSPACE", str(root / "workspace"))
        patch.setenv("SATSEG_PROJECTS_DIR", str(root / "projects"))
        patch.setenv("SATSEG_UPLOAD_SCENE_MIB", "1")
        patch.setenv("SATSEG_UPLOAD_LABEL_MIB", "0.25")
        settings.cache_clear()
        workspace = Workspace(root / "workspace")
        runs = make_project(root / "projects", workspace, "houses", Size())
        make_project(root / "projects", workspace, "roads", Size(1, 1, 1, 1, 1), promotion={"approval": "manual"})
        _fill_database()
        from airflow.api_fastapi.app import create_app

        with TestClient(create_app(), base_url="http://airflow.test", raise_server_exceptions=False) as client:
            yield Server(client, workspace.root, root / "projects", _tokens(client), runs)
    settings.cache_clear()


def _fill_database() -> None:
    """Make Airflow's database and write the projects' DAGs into it, as the DAG processor does."""
    from airflow.utils.db import initdb

    initdb()
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)


def _tokens(client: TestClient) -> dict[str, str]:
    passwords = json.loads((Path(airflow_home.HOME) / "simple_auth_manager_passwords.json.generated").read_text())
    tokens = {}
    for user in airflow_home.USERS:
        answer = client.post("/auth/token", json={"username": user, "password": passwords[user]})
        tokens[user] = answer.json()["access_token"]
    client.cookies.clear()
    return tokens
