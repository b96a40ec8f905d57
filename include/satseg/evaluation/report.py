"""The stored report of a model on a patch set: the scores, and the counts of every block they come from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.stages import EvaluateResult
from satseg.storage.atomic import TEMP_PREFIX, write_json
from satseg.storage.layout import Workspace

if TYPE_CHECKING:  # reading reports needs no rasters and no models
    from satseg.evaluation.measure import BlockKey, Measurement

REPORT_FILE = "report.json"


class BlockCounts(BaseModel):
    """Pixels of one block as (label, prediction, count), zero counts left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: str
    block: str
    reference: bool
    counts: list[tuple[int, int, int]]


class EvaluationReport(BaseModel):
    """report.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    evaluated_at: datetime
    classes: tuple[str, ...]
    result: EvaluateResult
    blocks: list[BlockCounts]


def make_report(measurement: "Measurement", result: EvaluateResult) -> EvaluationReport:
    """Put scores and block counts together; blocks are sorted, so that equal measurements give equal text."""

    def of_block(key: "BlockKey") -> BlockCounts:
        matrix = measurement.blocks[key]
        counts = [(int(a), int(b), int(matrix[a, b])) for a, b in zip(*matrix.nonzero(), strict=True)]
        return BlockCounts(scene=key.scene, block=key.block, reference=key.reference, counts=counts)

    return EvaluationReport(
        evaluated_at=datetime.now(UTC),
        classes=measurement.classes,
        result=result,
        blocks=[of_block(key) for key in sorted(measurement.blocks)],
    )


def report_folder(workspace: Workspace, project: str, run_id: str, patch_set: str) -> Path:
    """Return the folder of report.json and its pictures."""
    return workspace.evaluation(project, run_id) / patch_set


def read_report(workspace: Workspace, project: str, run_id: str, patch_set: str) -> EvaluationReport | None:
    """Return a stored report; None when there is none, or one that another version of satseg wrote."""
    path = report_folder(workspace, project, run_id, patch_set) / REPORT_FILE
    try:
        return EvaluationReport.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def stored_reports(workspace: Workspace, project: str, run_id: str) -> dict[str, EvaluationReport]:
    """Return all readable reports of a run by patch set."""
    paths = sorted(workspace.evaluation(project, run_id).glob(f"*/{REPORT_FILE}"))
    names = [path.parent.name for path in paths if not path.parent.name.startswith(TEMP_PREFIX)]
    reports = {name: read_report(workspace, project, run_id, name) for name in names}
    return {name: report for name, report in reports.items() if report is not None}


def write_report(folder: Path, report: EvaluationReport) -> None:
    """Write report.json; call it after everything else is in the folder."""
    write_json(folder / REPORT_FILE, report.model_dump(mode="json"))
