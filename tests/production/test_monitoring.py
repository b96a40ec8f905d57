"""Prometheus' files pass promtool, and the dashboards and alerts name only figures that something really emits."""

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from compose_file import ROOT, services
from prometheus_client.parser import text_string_to_metric_families
from services import Redis, free_port, wait_for

from satseg.drift.gauge import write_gauge
from satseg.serving.metrics import Metrics
from satseg.stages import DriftResult, FeatureDrift
from satseg.storage.layout import Workspace

MONITORING = ROOT / "docker" / "monitoring"
BOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
# named by NVIDIA's dcgm-exporter (its default-counters.csv), which needs a GPU; and what Prometheus itself says
UNSEEN = {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "up"}
WORDS = {
    *("sum", "by", "rate", "increase", "time", "absent", "min", "max", "histogram_quantile", "topk"),
    *("or", "unless", "offset", "le", "and", "on", "ignoring"),
}


def names_in(expression: str) -> set[str]:
    """Return the metrics of a PromQL expression."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)', "", expression)
    return {word for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]+", bare) if word not in WORDS}


def expressions() -> dict[str, set[str]]:
    """Return the metrics of every panel and alert, by where they stand."""
    found = {}
    for board in BOARDS:
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                found[f"{board.stem}: {panel['title']}"] = names_in(target["expr"])
    for rule in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]:
        found[f"alert {rule['alert']}"] = names_in(rule["expr"])
    return found


def samples(text: str) -> set[str]:
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def of_airflow() -> set[str]:
    """Return what statsd-exporter makes of Airflow's figures; `make test-celery` checks that Airflow emits them."""
    listed = (Path(__file__).parent / "airflow_metrics.txt").read_text().split()
    names = {name.replace(".", "_") for name in listed}
    timers = {f"{name}_{end}" for name in names if "duration" in name for end in ("sum", "count", "bucket")}
    return names | timers | {"airflow_dagrun_duration_failed_count"}  # no run fails there


def of_serving() -> set[str]:
    metrics = Metrics()
    metrics.show_model("3", "onnx")
    metrics.requests.labels("/v1/segment", "200").inc()
    metrics.seconds.labels("/v1/segment").observe(0.1)
    metrics.steps.labels("decode").observe(0.1)
    metrics.swaps.labels("swapped").inc()
    metrics.profiles.labels("kept").inc()
    return samples(metrics.text().decode())


def of_drift(folder: Path) -> tuple[set[str], Path]:
    far = FeatureDrift(feature="mean_1", distance=0.4, p_value=0.001, p_adjusted=0.002, shift=1.0, drifted=True)
    night = DriftResult(
        message="", night="2026-11-23", verdict="drift", drifted=True, p_value=0.001, level=0.05, features=[far]
    )
    path = write_gauge(Workspace(folder), "buildings", night)
    return samples(path.read_text()), path


@contextmanager
def exporter(program: str, port: int, *options: str) -> Iterator[set[str]]:
    """Run one of Debian's exporters and yield what it emits."""
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, f"{program} listens")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        yield samples(opener.open(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode())
    finally:
        process.kill()
        process.wait()


def of_machine(drift: Path) -> set[str]:
    port = free_port()
    folder = str(drift.parent.parent / "*")
    options = (f"--web.listen-address=127.0.0.1:{port}", f"--collector.textfile.directory={folder}")
    with exporter("prometheus-node-exporter", port, *options) as emitted:
        return emitted


def of_redis() -> set[str]:
    redis, port = Redis(), free_port()
    redis.start()
    try:
        redis.ask("rpush", "gpu", "a", "b")
        settings = services()["redis-exporter"]["environment"]
        options = ("-redis.addr", f"redis://127.0.0.1:{redis.port}", "-redis.password", redis.password)
        listen = ("-web.listen-address", f"127.0.0.1:{port}")
        keys = ("-check-single-keys", settings["REDIS_EXPORTER_CHECK_SINGLE_KEYS"])
        with exporter("prometheus-redis-exporter", port, *options, *listen, *keys) as emitted:
            return emitted
    finally:
        redis.stop()


def test_what_the_library_and_airflow_emit_is_all_that_their_panels_name(tmp_path: Path) -> None:
    emitted = of_airflow() | of_serving() | of_drift(tmp_path)[0] | UNSEEN
    elsewhere = ("node_", "redis_")
    unknown = {
        place: missing
        for place, named in expressions().items()
        if (missing := {name for name in named if not name.startswith(elsewhere)} - emitted)
    }
    assert unknown == {}
    assert len(expressions()) > 40


def test_airflows_figures_are_those_of_its_own_list() -> None:
    (package,) = importlib.util.find_spec("airflow").submodule_search_locations  # found, not imported
    listed = yaml.safe_load((Path(package) / "_shared/observability/metrics/metrics_template.yaml").read_text())
    known = {f"airflow.{metric['name']}" for metric in listed["metrics"]}
    ours = set((Path(__file__).parent / "airflow_metrics.txt").read_text().split())
    assert ours - known == set()
    assert "airflow.dagrun.duration.failed" in known


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("prometheus-node-exporter") and shutil.which("prometheus-redis-exporter")),
    reason="needs Debian's prometheus-node-exporter, prometheus-redis-exporter and redis-server",
)
def test_what_the_exporters_emit_is_all_that_their_panels_name(tmp_path: Path) -> None:
    drift, path = of_drift(tmp_path)
    machine = of_machine(path)
    assert drift <= machine  # the collector reads drift/<project>/metrics.prom
    named = {name for names in expressions().values() for name in names if name.startswith(("node_", "redis_"))}
    assert {"redis_key_size", "node_filesystem_avail_bytes"} <= named
    assert named - machine - of_redis() == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")
def test_promtool_accepts_configuration_and_rules_and_the_alerts_fire(tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    folder = tmp_path / "monitoring"
    key = folder / "serving_key"
    key.write_text("k" * 20)
    config = folder / "prometheus.yaml"
    config.write_text(config.read_text().replace("/run/secrets/serving_key", str(key)))
    for words in (
        ["check", "config", "prometheus.yaml"],
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ):
        done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_the_services_that_compose_has_and_grafana_asks_prometheus() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    targets = [job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]]
    names = {target.partition(":")[0] for target in targets}
    assert names <= set(services())
    assert all("metrics" in services()[name]["networks"] for name in {*names, "prometheus", "grafana"})
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_dashboard_is_whole(board: Path) -> None:
    parsed = json.loads(board.read_text())
    assert parsed["uid"] == f"satseg-{board.stem}"
    ids = [panel["id"] for panel in parsed["panels"]]
    assert len(set(ids)) == len(ids) > 3
    for panel in parsed["panels"]:
        assert panel["datasource"]["uid"] == "prometheus"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_there_is_a_dashboard_for_each_subject() -> None:
    assert {board.stem for board in BOARDS} == {"pipeline", "models", "drift", "serving", "gpu"}
