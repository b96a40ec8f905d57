"""The same through a real API server of Airflow: login, cookie, a run, a cut upload, what a guest sees."""

import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from plugin_server import API

from airflow_home import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.mark.slow
def test_plugin_in_a_real_server(tmp_path: Path) -> None:
    from api_server import api_server, prepare
    from plugin_world import Size, make_project

    from satseg.storage.layout import Workspace

    root = tmp_path / "workspace"
    make_project(tmp_path / "projects", Workspace(root), "houses", Size(1, 1, 1, 1, 1))
    home = prepare(root, tmp_path / "projects")
    with api_server(home, ROOT / "plugins", tmp_path / "log") as server, server.client("user") as user:
        project = f"{API}/projects/houses"
        assert httpx.get(f"{server.url}{API}/session", trust_env=False, timeout=120).status_code == 401
        assert user.get(f"{API}/session").json()["user"] == "user"
        assert user.get(f"{project}/models/champion").json()["version"] == "1"
        started = user.post(f"{project}/trainings", json={"epochs": 1})
        assert started.status_code == 202
        assert user.get(started.headers["location"]).json()["triggered_by"] == "user"

        cookies = {"_token": user.headers["Authorization"].removeprefix("Bearer ")}
        with httpx.Client(base_url=server.url, cookies=cookies, trust_env=False, timeout=120) as browser:
            assert browser.get("/satseg/page/").status_code == 200
            write = f"{project}/trainings"
            assert browser.post(write, json={}, headers={"Origin": "http://evil.test"}).status_code == 403
            assert browser.post(write, json={}, headers={"Origin": server.url}).status_code == 202

        cut_upload(server.url, user.headers["Authorization"], f"{project}/incoming/cut.tif")
        zone = root / "incoming" / "houses"
        deadline = time.monotonic() + 60
        while list(zone.rglob("*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert list(zone.rglob("*")) == []
        assert user.put(f"{project}/incoming/whole.tif", content=b"x" * 100_000).status_code == 201
        assert (zone / "whole.tif").stat().st_size == 100_000


def cut_upload(url: str, authorization: str, path: str) -> None:
    """Announce ten megabytes, send one, and hang up."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as line:
        head = f"PUT {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: {authorization}\r\n"
        line.sendall(f"{head}Content-Length: 10000000\r\n\r\n".encode())
        line.sendall(b"x" * 1_000_000)
        time.sleep(1)
