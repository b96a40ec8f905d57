"""The Helm values and the pod template: the settings of docker/airflow.env, one GPU, no rights, valid Kubernetes."""

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from celery_airflow import production_settings
from compose_file import ROOT

from satseg_airflow.pools import GPU_QUEUE

FOLDER = ROOT / "docker" / "kubernetes"
OLDEST = "1.29"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


def test_the_chart_gets_the_settings_of_compose() -> None:
    given = {one["name"]: one["value"] for one in load("values.yaml")["env"]}
    ours = production_settings()
    assert {name: given.get(name) for name in ours} == ours
    assert all(isinstance(value, str) for value in given.values())


def test_no_secret_stands_in_the_values_and_none_is_left_to_the_charts_defaults() -> None:
    values = load("values.yaml")
    assert "password" not in (FOLDER / "values.yaml").read_text().lower()
    assert all(values[name] for name in ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName"))
    assert set(values["data"]) == {"metadataSecretName", "resultBackendSecretName", "brokerUrlSecretName"}


def test_one_set_of_workers_takes_the_gpu_queue_with_a_gpu_and_is_drained_not_killed() -> None:
    workers = load("values.yaml")["workers"]
    (gpu,) = workers["celery"]["sets"]
    assert gpu["queue"] == GPU_QUEUE and f"--queues {GPU_QUEUE}" in gpu["args"][-1]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert workers["terminationGracePeriodSeconds"] >= 48 * 3600


def test_the_worker_image_has_the_program_that_the_charts_probes_run(tmp_path: Path) -> None:
    lines = (FOLDER / "worker.Dockerfile").read_text().splitlines()
    (made,) = [line.removeprefix("RUN ") for line in lines if "/entrypoint" in line and line.startswith("RUN")]
    entrypoint = tmp_path / "entrypoint"
    subprocess.run(["sh", "-c", made.replace("/entrypoint", str(entrypoint))], check=True)
    done = subprocess.run([entrypoint, "echo", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout == "a b\n"
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001"


def test_the_pod_asks_for_one_gpu_and_runs_without_rights() -> None:
    pod = load("gpu-pod.yaml")["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "base"  # Airflow's executor looks for it
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_the_pod_is_valid_kubernetes() -> None:
    kubernetes_validate.validate(load("gpu-pod.yaml"), OLDEST, strict=True)
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(load("gpu-pod.yaml"), newest, strict=True)


def test_the_check_of_the_pod_sees_a_misspelt_key() -> None:
    pod = load("gpu-pod.yaml")
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        kubernetes_validate.validate(pod, OLDEST, strict=True)
