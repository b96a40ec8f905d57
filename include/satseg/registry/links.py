"""Where a person finds what a decision rests on."""

from satseg.evaluation.report import report_folder
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef
from satseg.tracking.runs import get_run, run_url

PAGES = ("report.html", "report.json")


def evidence_links(workspace: Workspace, project_name: str, ref: ModelRef, patch_set: str | None) -> dict[str, str]:
    """Return addresses by name: the evaluation's report on a patch set, and the training run.

    Without an MLflow server they are files.
    """
    page = run_url(workspace, ref.run_id)
    links = {"training run": page or get_run(workspace, ref.run_id).artifact_uri}
    if patch_set is None:
        return links
    folder = report_folder(workspace, project_name, ref.run_id, patch_set)
    file = next((folder / name for name in PAGES if (folder / name).is_file()), None)
    if file is not None:
        links["report"] = f"{page}/artifacts/evaluation/{patch_set}/{file.name}" if page else str(file)
    return links
