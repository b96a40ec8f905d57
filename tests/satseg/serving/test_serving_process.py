"""`satseg serve` as a process of its own: a real MLflow, real promotion of an alias, SIGTERM."""

import io
import json
import os
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest
from PIL import Image
from serving_pictures import png
from serving_world import description, wait_for

from satseg.cli import app as cli
from satseg.config.settings import settings
from satseg.tracking.models import create_version, set_alias
from satseg.tracking.runs import tracked_run

pytestmark = pytest.mark.slow


def train(workspace, red_from):
    """Register a network that calls a pixel a building from this red on."""
    from satseg.models.keras.runtime import keras

    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    network.layers[0].set_weights([np.array([[[[1.0], [0], [0]]]]), np.array([0.5 - red_from])])
    folder = workspace.root / f"tiny-{red_from}"
    folder.mkdir(parents=True)
    network.save(folder / "model.keras")
    about = description()
    (folder / "model.json").write_text(about.model_dump_json())
    with tracked_run(workspace, "roofs", name="tiny", tags={}, params={}) as run:
        run.log_model_files(folder, about.model_dump(mode="json"), np.zeros((1, 32, 32, 3), np.uint8))
    return create_version(workspace, "roofs", run.id, {}, "")


def test_process_serves_the_champion_changes_it_without_restart_and_stops_with_0(tracked, tmp_path, image):
    workspace = tracked
    assert [train(workspace, red) for red in (100, 231)] == ["1", "2"]
    set_alias(workspace, "roofs", "champion", "1")
    project = tmp_path / "roofs.yaml"
    project.write_text("name: roofs\nclasses: [building]\n")
    log = tmp_path / "log"
    environment = {**os.environ, "SATSEG_WORKSPACE": str(workspace.root), "SATSEG_SERVE_WATCH_S": "0.2"}
    process = subprocess.Popen(
        [sys.executable, "-m", "satseg", "serve", "-p", str(project), "--port", "0"],
        env=environment,
        stderr=log.open("w"),
    )
    try:
        wait_for(lambda: "listening on" in log.read_text(), 60)
        url = log.read_text().split("listening on ")[1].split()[0]
        wait_for(lambda: httpx.get(f"{url}/readyz").status_code == 200, 60)

        def mask():
            response = httpx.post(f"{url}/v1/segment", content=png(image), timeout=30)
            assert response.status_code == 200, response.text
            return response.headers["x-model-version"], np.asarray(Image.open(io.BytesIO(response.content)))

        version, ids = mask()
        assert version == "v1"
        assert np.array_equal(ids, image[..., 0] >= 100)
        set_alias(workspace, "roofs", "champion", "2")
        wait_for(lambda: mask()[0] == "v2", 60)
        assert not mask()[1].any()
        [profiles] = workspace.request_profiles("roofs").iterdir()
        assert {json.loads(line)["model"] for line in profiles.read_text().splitlines()} >= {"v1"}
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, log.read_text()
    assert "every request that was under way is answered" in log.read_text()


def test_network_without_keys_is_refused_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path))
    settings.cache_clear()
    project = tmp_path / "roofs.yaml"
    project.write_text("name: roofs\nclasses: [building]\n")
    assert cli.main(["serve", "-p", str(project), "--host", "0.0.0.0"]) == 2
    settings.cache_clear()
    assert "SATSEG_SERVE_KEYS" in capsys.readouterr().err
