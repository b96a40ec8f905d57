"""One Airflow on Celery workers for a module of tests."""

from collections.abc import Iterator

import pytest
from celery_airflow import CeleryAirflow, CeleryHome
from statsd_listener import StatsdListener

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.embedded.processes import marked

PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: resnet18, epochs: 3, steps_per_epoch: 4, batch_size: 4}
retraining: {epochs: 1}
promotion: {min_iou: 0.0, max_iou_loss: 1.0, margin_over_all_positive: -1.0}
inference: {window_px: 128}
drift: {patch_px: 64, permutations: 299, confirm: {nights: 1, of: 1}, quiet_nights: 1}
"""


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsdListener]:
    """Return what takes Airflow's figures."""
    listener = StatsdListener()
    listener.start()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, statsd: StatsdListener) -> Iterator[CeleryAirflow]:
    """Return a running Airflow with the project `tiny`; in the end no process of it is left."""
    folder = tmp_path_factory.mktemp("celery")
    (folder / "projects").mkdir()
    (folder / "projects" / "tiny.yaml").write_text(PROJECT)
    settings.cache_clear()
    home = CeleryHome(Workspace(folder / "workspace"), folder / "projects", statsd_port=statsd.port)
    airflow = CeleryAirflow(home)
    try:
        airflow.start(LineScreen().say)
        yield airflow
    finally:
        airflow.stop()
        settings.cache_clear()
    assert marked(home.folder) == []
