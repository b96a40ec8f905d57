"""The loop, step by step, through Airflow's REST API and its scheduler."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from satseg_airflow.demo.errors import DemoFailedError
from satseg_airflow.demo.plan import Arrival, DemoPlan
from satseg_airflow.demo.screen import Screen
from satseg_airflow.demo.sources import make_scenes
from satseg_airflow.demo.watch import Watch
from satseg_airflow.embedded.airflow import EmbeddedAirflow

DAGS = (
    "scene_ingestion", "patch_generation", "model_training", "model_promotion", "scene_inference", "model_retraining",
    "drift_detection",
)  # fmt: skip
PARSED_WITHIN_S = 90.0
NIGHTLY_STARTS_WITHIN_S = 8.0


@dataclass
class Outcome:
    """What the stages returned, read from XCom; filled step by step."""

    ingest: dict[str, Any] = field(default_factory=dict)
    patches: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    promotion: dict[str, Any] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    quiet: dict[str, Any] = field(default_factory=dict)
    drifted: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    retraining_run: str = ""
    retrained: dict[str, Any] = field(default_factory=dict)
    champion_again: dict[str, Any] = field(default_factory=dict)
    challenger: dict[str, Any] = field(default_factory=dict)


class Demo:
    """Runs a plan on a started Airflow."""

    def __init__(self, plan: DemoPlan, airflow: EmbeddedAirflow, screen: Screen) -> None:
        self.plan = plan
        self.screen = screen
        self.outcome = Outcome()
        self._environment = airflow.home.environment(airflow.ports)
        self._watch = Watch(airflow, plan.project, screen, plan.run_timeout_s)
        self._api = self._watch.api
        self._unpaused = 0.0  # when the nightly DAG was, on the monotonic clock

    def run(self) -> Outcome:
        """Run every step; what was reached before an error is in `outcome`.

        Raises:
            DemoFailedError: a run failed, or the loop did not do what it is there for.
        """
        try:
            self._unpause()
            self._first_model()
            self._quiet_night()
            self._drifted_night()
        finally:
            self._watch.close()
        return self.outcome

    # --- steps ------------------------------------------------------------------------------------------------
    def _unpause(self) -> None:
        wanted = {self._dag(name) for name in DAGS}
        self._watch.wait(
            lambda: wanted <= self._api.dag_ids(self.plan.project),
            PARSED_WITHIN_S,
            lambda: (
                f"Airflow does not show the DAGs of {self.plan.project}. Import errors: {self._api.import_errors()}"
            ),
        )
        for name in DAGS[:-1]:  # the nightly one would run for last night at once, without a champion
            self._api.pause(self._dag(name), paused=False)

    def _first_model(self) -> None:
        self.outcome.ingest, patching = self._arrive(self.plan.first)
        # the training's start-up overlaps with the preview, which nothing waits for
        self._watch.finish_task(self._dag("patch_generation"), patching, "finalise")
        self.outcome.patches = self._result("patch_generation", patching, "finalise")
        windows = self.outcome.patches["windows"]
        self.screen.say(f"Training on {windows['train']} patches of {self.outcome.patches['dataset_version']} ...")
        conf = {"patch_set": self.outcome.patches["patch_set"], **self.plan.training}
        training = self._trigger("model_training", "demo__first", conf)
        self._finish("patch_generation", patching)
        self.outcome.train = self._result("model_training", training, "train")
        self.outcome.evaluation = self._result("model_training", training, "evaluate")
        promotion = self._follow("model_training", training, "model_promotion")
        self.outcome.promotion = self._result("model_promotion", promotion, "gates")
        if self.outcome.promotion["decision"] == "refused":
            raise DemoFailedError(
                f"The first model did not become champion: {self.outcome.promotion['message']}. Train longer "
                "(training.epochs) or lower the floor (promotion.min_iou) in the project file, then run the demo again."
            )
        self.outcome.promotion = self._result("model_promotion", promotion, "promote")
        # unpausing starts the run of the last nightly interval: it passes while the scenes are predicted
        self._api.pause(self._dag("drift_detection"), paused=False)
        self._unpaused = time.monotonic()
        self.screen.say("Predicting the scenes with the champion ...")
        inference = self._follow("model_promotion", promotion, "scene_inference")
        self.outcome.predictions = self._predictions(inference)

    def _quiet_night(self) -> None:
        ingest, patching = self._arrive(self.plan.quiet)  # patches are cut while the night is looked at
        # the report of the last nightly interval's run must not overwrite the demo's
        self._watch.settle(self._dag("drift_detection"), self._unpaused + NIGHTLY_STARTS_WITHIN_S)
        run = self._detect(self.plan.quiet, self.plan.quiet_night, ingest)
        self.outcome.quiet = self._result("drift_detection", run, "test")
        report = self._result("drift_detection", run, "report")
        if self._watch.task_state(self._dag("drift_detection"), run, "drift_sensor") != "skipped":
            raise DemoFailedError(
                f"Night {self.plan.quiet_night} was taken for drift, though its scenes are of the same kind "
                f"({self.outcome.quiet['message']}). Look at its report: {report['report']}"
            )
        self._finish("patch_generation", patching)

    def _drifted_night(self) -> None:
        ingest, patching = self._arrive(self.plan.drifted)
        run = self._detect(self.plan.drifted, self.plan.drifted_night, ingest)
        self.outcome.drifted = self._result("drift_detection", run, "test")
        self.outcome.report = self._result("drift_detection", run, "report")
        if self._watch.task_state(self._dag("drift_detection"), run, "trigger_retraining") != "success":
            raise DemoFailedError(
                f"Night {self.plan.drifted_night} started no retraining ({self.outcome.drifted['message']}). "
                f"Look at its report: {self.outcome.report['report']}"
            )
        self._finish("patch_generation", patching)
        self.screen.say("Drift confirmed: retraining from the champion ...")
        retraining = f"drift__{self.plan.project}__{self.plan.drifted_night}"
        self._finish("model_retraining", retraining)
        self.outcome.retraining_run = retraining
        self.outcome.retrained = self._result("model_retraining", retraining, "evaluate_new")
        self.outcome.champion_again = self._result("model_retraining", retraining, "evaluate_champion")
        promotion = self._follow("model_retraining", retraining, "model_promotion")
        self.outcome.challenger = self._result("model_promotion", promotion, "gates")
        if self.outcome.challenger["decision"] != "refused":
            self.outcome.challenger = self._result("model_promotion", promotion, "promote")
            self.screen.say("The retrained model is champion; predicting the scenes again ...")
            self._follow("model_promotion", promotion, "scene_inference")

    # --- parts of steps ---------------------------------------------------------------------------------------
    def _arrive(self, arrival: Arrival) -> tuple[dict[str, Any], str]:
        """Ingest scenes; returns the result, and the run of patch_generation that their dataset version starts."""
        self.screen.say(f"Scenes arrive: {arrival.story} ...")
        make_scenes(arrival, self._environment)
        run = self._trigger("scene_ingestion", f"demo__{arrival.name}", {"source": str(arrival.folder)})
        ingest = self._result("scene_ingestion", run, "ingest")
        if ingest["quarantined"]:
            self.screen.say(f"Quarantined: {ingest['quarantined']}")
        return ingest, self._watch.started(self._dag("scene_ingestion"), run, self._dag("patch_generation"))

    def _detect(self, arrival: Arrival, night: str, ingest: dict[str, Any]) -> str:
        self.screen.say(
            f"Night {night}: does {ingest['dataset_version']} look like what the champion learned from? ..."
        )
        conf = {"night": night, "dataset_version": ingest["dataset_version"], "replace": True}
        return self._trigger("drift_detection", f"demo__{arrival.name}", conf)

    def _predictions(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for task in self._api.tasks(self._dag("scene_inference"), run_id):
            if task["task_id"] == "predict":
                result = self._api.result(self._dag("scene_inference"), run_id, "predict", task["map_index"])
                found += result["predictions"]
        if not found or not all(Path(one["classes"]).is_file() for one in found):
            raise DemoFailedError(f"scene_inference ended well, but its files are not there: {found}")
        return found

    # --- runs -------------------------------------------------------------------------------------------------
    def _dag(self, name: str) -> str:
        return f"{self.plan.project}.{name}"

    def _trigger(self, name: str, run_id: str, conf: dict[str, Any]) -> str:
        self._api.trigger(self._dag(name), run_id, conf)
        self._finish(name, run_id)
        return run_id

    def _follow(self, name: str, run_id: str, to: str) -> str:
        started = self._watch.started(self._dag(name), run_id, self._dag(to))
        self._finish(to, started)
        return started

    def _finish(self, name: str, run_id: str) -> None:
        self._watch.finish(self._dag(name), run_id)

    def _result(self, name: str, run_id: str, task_id: str) -> dict[str, Any]:
        result = self._api.result(self._dag(name), run_id, task_id)
        if not isinstance(result, dict):
            raise DemoFailedError(f"Task {task_id} of run {run_id} of {self._dag(name)} left no result.")
        return result
