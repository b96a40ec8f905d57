"""The only builder of paths below the workspace."""

import re
from dataclasses import dataclass
from pathlib import Path

from satseg.errors import ConfigurationError

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _safe(name: str, what: str) -> str:
    if not _SAFE_NAME.fullmatch(name) or ".." in name:
        raise ConfigurationError(
            f"{what} {name!r} is not usable as a file name: letters, digits, '.', '_' and '-' only."
        )
    return name


@dataclass(frozen=True)
class Workspace:
    """The folder that holds everything satseg makes; methods return paths and create nothing."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).resolve())

    # --- data -------------------------------------------------------------------------------------------------
    def incoming(self, project: str) -> Path:
        """Drop zone for scenes and labels."""
        return self.root / "incoming" / project

    def quarantine(self, project: str) -> Path:
        """Folders of rejected scenes, each with reasons.json."""
        return self.root / "quarantine" / project

    @property
    def data(self) -> Path:
        """The git + DVC repository."""
        return self.root / "data"

    def dataset(self, project: str) -> Path:
        """A project's part of the data repository: collection.json, items/, scenes/, annotations/."""
        return self.data / project

    def dataset_views(self, project: str) -> Path:
        """Files of older dataset versions, materialised for reading."""
        return self.root / "views" / project

    def staging(self, project: str) -> Path:
        """Scenes an ingest has converted and not yet put into the dataset."""
        return self.root / "staging" / project

    def originals(self, project: str, version: str) -> Path:
        """Files of incoming/ as they were dropped, moved here once the version that holds them is made."""
        return self.root / "originals" / project / _safe(version, "Dataset version")

    def validation(self, project: str) -> Path:
        """Great Expectations results and Data Docs."""
        return self.root / "validation" / project

    def lock(self, name: str) -> Path:
        """An operating-system lock file."""
        return self.root / "locks" / f"{_safe(name, 'Lock name')}.lock"

    # --- patches ----------------------------------------------------------------------------------------------
    def patches(self, project: str) -> Path:
        """All patch sets of a project, and split.json, the fixed split plan."""
        return self.root / "patches" / project

    def patch_set(self, project: str, patch_set: str) -> Path:
        """One patch set."""
        return self.patches(project) / _safe(patch_set, "Patch set id")

    # --- models -----------------------------------------------------------------------------------------------
    def run(self, run_key: str) -> Path:
        """Checkpoints and logs of one training."""
        return self.root / "runs" / _safe(run_key, "Run key")

    @property
    def runs(self) -> Path:
        """All trainings."""
        return self.root / "runs"

    def studies(self, project: str) -> Path:
        """All hyper-parameter searches of a project, and optuna.db, which remembers their trials."""
        return self.root / "studies" / project

    def study(self, project: str, study: str) -> Path:
        """One search: what was asked for, and its pictures."""
        return self.studies(project) / _safe(study, "Study id")

    @property
    def mlflow(self) -> Path:
        """Embedded MLflow: mlflow.db and artifacts."""
        return self.root / "mlflow"

    def evaluation(self, project: str, model: str) -> Path:
        """Reports of one evaluated model (run id)."""
        return self.root / "evaluations" / project / _safe(model, "Model")

    def reproduction(self, run_id: str) -> Path:
        """A workspace in which a run is made again."""
        return self.root / "reproduce" / _safe(run_id, "Run id")

    def audit_log(self, project: str) -> Path:
        """Append-only JSON lines of promotion decisions."""
        return self.root / "audit" / f"{project}.jsonl"

    # --- predictions and drift --------------------------------------------------------------------------------
    def predictions(self, project: str) -> Path:
        """All predictions of a project, by scene and model."""
        return self.root / "predictions" / project

    def prediction(self, project: str, scene: str, model: str) -> Path:
        """Outputs for one scene by one model version (`v3`) or run."""
        return self.predictions(project) / _safe(scene, "Scene id") / _safe(model, "Model")

    def explanation(self, project: str, scene: str, model: str) -> Path:
        """Where a model looks in a scene, and where it is unsure; a folder per model and place."""
        return self.root / "explanations" / project / _safe(scene, "Scene id") / _safe(model, "Model")

    def drift(self, project: str) -> Path:
        """All nights of a project, and reference/."""
        return self.root / "drift" / project

    def drift_night(self, project: str, night: str) -> Path:
        """Profile and report of one night."""
        return self.drift(project) / _safe(night, "Night")

    def drift_reference(self, project: str, dataset_version: str) -> Path:
        """Profile of the labelled scenes of one dataset version, to which nights are compared."""
        return self.drift(project) / "reference" / _safe(dataset_version, "Dataset version")

    def drift_trials(self, project: str, key: str) -> Path:
        """What a champion made of its held-out ground under simulated changes."""
        return self.drift(project) / "trials" / f"{_safe(key, 'Key of trials')}.npz"

    def selections(self, project: str) -> Path:
        """All selections of windows worth labelling."""
        return self.root / "selections" / project

    def selection(self, project: str, name: str) -> Path:
        """One selection: pictures and LabelMe files."""
        return self.selections(project) / _safe(name, "Selection name")

    # --- service ----------------------------------------------------------------------------------------------
    def request_profiles(self, project: str) -> Path:
        """Feature profiles and confidences of the service's requests, a file per day."""
        return self.root / "serving" / project

    # --- airflow ----------------------------------------------------------------------------------------------
    @property
    def scratch(self) -> Path:
        """Temporary files of the stages that Airflow runs, a folder for each."""
        return self.root / "scratch"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME of the embedded Airflow."""
        return self.root / "airflow"
