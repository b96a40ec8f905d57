"""Airflow's REST API as satseg uses it: logged in, patient with a server that restarts or resets connections."""

import time
from typing import Any

import httpx

from satseg.errors import TemporaryError

TIMEOUT_S = 30.0
TRIES = 6
FIRST_PAUSE_S = 0.5
CONFLICT = httpx.codes.CONFLICT


class ApiError(TemporaryError):
    """An answer of Airflow that is not the wanted one, in one line."""


class AirflowApi:
    """A client of one Airflow; every call is repeated when the connection breaks or the server is overloaded.

    Calls are safe to repeat: runs are triggered with their run id, so that a second try meets the first one's run.
    """

    def __init__(self, url: str, username: str, password: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self._login = {"username": username, "password": password}
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, transport=transport)

    def __enter__(self) -> "AirflowApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, so that the server need not wait for them."""
        self._http.close()

    # --- DAGs and runs ----------------------------------------------------------------------------------------
    def health(self) -> dict[str, str]:
        """Return the state of each component; empty while the server does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5.0)
        except httpx.TransportError:
            return {}
        if answer.status_code != httpx.codes.OK:
            return {}
        return {name: (part or {}).get("status") or "missing" for name, part in answer.json().items()}

    def dag_ids(self, project: str) -> set[str]:
        """Return the DAGs of a project that Airflow knows."""
        answer = self.get("/api/v2/dags", tags=project, limit=100, exclude_stale=True)
        return {dag["dag_id"] for dag in answer["dags"]}

    def import_errors(self) -> list[str]:
        """Return what is wrong with DAG or project files."""
        return [error["stack_trace"] for error in self.get("/api/v2/importErrors")["import_errors"]]

    def pause(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": paused})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run; an existing run of this id is left alone."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body, fine=(CONFLICT,))

    def backfill(self, dag_id: str, first: str, last: str) -> int:
        """Start the scheduled runs of all intervals between two points in time, one after the other; returns its id."""
        body = {"dag_id": dag_id, "from_date": first, "to_date": last, "max_active_runs": 1}
        return int(self.call("POST", "/api/v2/backfills", json=body)["id"])

    def pause_backfill(self, backfill: int, paused: bool) -> None:
        """Let no further run of a backfill start, or go on."""
        self.call("PUT", f"/api/v2/backfills/{backfill}/{'pause' if paused else 'unpause'}", fine=(CONFLICT,))

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """Return the runs, oldest first."""
        answer = self.get(f"/api/v2/dags/{dag_id}/dagRuns", limit=100, order_by="run_after")
        return list(answer["dag_runs"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """Return one run; None when there is none."""
        answer = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", fine=(httpx.codes.NOT_FOUND,))
        return answer if "state" in answer else None

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        answer = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)
        return list(answer["task_instances"])

    def result(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task left in XCom; None for nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self.call("GET", path, params={"map_index": map_index}, fine=(httpx.codes.NOT_FOUND,))
        return answer.get("value")

    def runs_started_by(self, dag_id: str, run_id: str) -> list[tuple[str, str]]:
        """Return (dag id, run id) of the runs that this run's asset events started."""
        answer = self.get("/api/v2/assets/events", source_dag_id=dag_id, source_run_id=run_id)
        created = [run for event in answer["asset_events"] for run in event["created_dagruns"]]
        return [(run["dag_id"], run["run_id"]) for run in created]

    def set_pool(self, name: str, slots: int, description: str) -> None:
        """Make or change a pool."""
        body = {"slots": slots, "description": description, "include_deferred": False}
        self.call("POST", "/api/v2/pools", json={"name": name, **body}, fine=(CONFLICT,))
        self.call("PATCH", f"/api/v2/pools/{name}", json={"pool": name, **body})

    # --- transport --------------------------------------------------------------------------------------------
    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Read something."""
        return self.call("GET", path, params=params)

    def call(self, method: str, path: str, fine: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
        """Call the API and return its JSON; statuses in `fine` are answers too.

        Raises:
            ApiError: the answer says no, or there is none after several tries.
        """
        trouble = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2**attempt)
            try:
                answer = self._authorised(method, path, **more)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if answer.is_success or answer.status_code in fine:
                return answer.json() if answer.content else {}
            trouble = f"status {answer.status_code}: {answer.text[:500]}"
            if not answer.is_server_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
        raise ApiError(f"{method} {self.url}{path}: {trouble}")

    def _authorised(self, method: str, path: str, **more: Any) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._http.request(method, path, **more)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the token has run out
            self._log_in()
            answer = self._http.request(method, path, **more)
        return answer

    def _log_in(self) -> None:
        self._http.headers.pop("Authorization", None)
        answer = self._http.post("/auth/token", json=self._login)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise ApiError(f"Airflow at {self.url} does not accept the password of '{self._login['username']}'.")
        if answer.is_success:
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
