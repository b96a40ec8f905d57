"""What a search was planned as, on disk for the processes that run its trials."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from satseg.config.project import ProjectConfig
from satseg.errors import NotFoundError
from satseg.storage.atomic import write_json, write_text
from satseg.storage.layout import Workspace

PLAN_FILE = "study.json"
PROJECT_FILE = "project.yaml"


class PlannedSearch(BaseModel):
    """A search with everything that may move (newest patch set, champion) replaced by ids."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    project: ProjectConfig
    patch_set: str
    init_from: str | None
    trials: int
    parent_run: str


class SearchFolder:
    """The folder of one search: study.json, project.yaml, later trials.json and history.png."""

    def __init__(self, workspace: Workspace, project: str, study: str) -> None:
        self.path: Path = workspace.study(project, study)

    @property
    def project_file(self) -> Path:
        """The project as it was resolved, for the processes of the trials."""
        return self.path / PROJECT_FILE

    def write(self, search: PlannedSearch) -> None:
        """Keep the plan."""
        project = yaml.safe_dump(search.project.model_dump(mode="json"), sort_keys=False)
        write_text(self.project_file, project)
        write_json(self.path / PLAN_FILE, search.model_dump(mode="json"))

    def read(self) -> PlannedSearch:
        """Return the plan.

        Raises:
            NotFoundError: there is no such search.
        """
        path = self.path / PLAN_FILE
        if not path.is_file():
            known = ", ".join(sorted(found.parent.name for found in self.path.parent.glob(f"*/{PLAN_FILE}"))) or "none"
            raise NotFoundError(
                f"No study '{self.path.name}'. There are: {known}. `satseg tune --step plan` makes one."
            )
        return PlannedSearch.model_validate_json(path.read_text(encoding="utf-8"))
