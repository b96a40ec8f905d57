"""Airflow's audit log, for writes that start no DAG run; those that do are written there by Airflow itself."""

import json
from typing import Any

from airflow.models.log import Log
from airflow.utils.session import create_session


def note(user: Any, dag_id: str, event: str, **facts: Any) -> None:
    """Write down who did what to which project's DAG."""
    name = user.get_name()
    with create_session() as session:
        session.add(Log(event=event, owner=name, owner_display_name=name, dag_id=dag_id, extra=json.dumps(facts)))
