"""A Celery app with the broker's settings of docker/airflow.env, and a task that says each time it is begun."""

import json
import os
import time
from pathlib import Path

from celery import Celery
from celery_airflow import production_settings

_SETTINGS = production_settings()
app = Celery("broker", broker=os.environ["TEST_BROKER"])
app.conf.update(
    broker_transport_options={"visibility_timeout": 3},  # 7 days in production: here a task outlives it at once
    broker_connection_retry_on_startup=True,
    task_acks_late=os.environ.get("TEST_ACKS_LATE", _SETTINGS["AIRFLOW__CELERY__TASK_ACKS_LATE"]) == "True",
    worker_prefetch_multiplier=int(_SETTINGS["AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER"]),
    task_default_queue="gpu",
    task_ignore_result=True,
    **json.loads(_SETTINGS["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"]),
)


@app.task(name="work", bind=True)
def work(self, folder: str, seconds: float) -> None:
    """Write a line to the file of this message, work, and mark the end."""
    with (Path(folder) / self.request.id).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    (Path(folder) / f"{self.request.id}.done").touch()
