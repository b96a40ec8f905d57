"""The stored report of a model on a patch set: the scores, and the counts of every block they come from."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.errors import NotFoundError
from satseg.stages import EvaluateResult
from satseg.storage.atomic import TEMP_PREFIX, write_json
from satseg.storage.layout import Workspace

if TYPE_CHECKING:  # reading reports needs no rasters and no models
    import pandas as pd

    from satseg.evaluation.tally import Tally

REPORT_FILE = "report.json"
BLOCKS_FILE = "blocks.parquet"
PAGE_FILE = "report.html"
ALL_SIZES = "all"
ENTRIES = ("tp", "fp", "fn", "tn")
COLUMNS = ("scene", "block", "reference", "class_id", "size_bin", *ENTRIES)


class EvaluationReport(BaseModel):
    """report.json.

    Attributes:
        evaluated_at: when.
        classes: names of the classes from id 1 on.
        settings: content hash of all settings that change the numbers.
        result: the scores.
        confusion: pixels by label (rows) and prediction, background first.
        reliability: of each class and bin of its probability: pixels, sum of probabilities, pixels labelled so.
        sweep: IoU at each threshold on validation windows.
        objects_by_size: of each class: labelled objects found and missed, by size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    evaluated_at: datetime
    classes: tuple[str, ...]
    settings: str
    result: EvaluateResult
    confusion: list[list[int]]
    reliability: dict[str, list[tuple[float, float, float]]]
    sweep: list[tuple[float, float]] = []
    objects_by_size: dict[str, dict[str, tuple[int, int]]] = {}


def make_report(tally: "Tally", result: EvaluateResult, settings: str) -> EvaluationReport:
    """Put scores and sums together."""
    from satseg.evaluation.calibration import threshold_sweep
    from satseg.evaluation.intervals import FN, TP
    from satseg.evaluation.tally import SIZE_BINS

    sizes = tally.objects_by_size.sum(axis=0)
    return EvaluationReport(
        evaluated_at=datetime.now(UTC),
        classes=tally.classes,
        settings=settings,
        result=result,
        confusion=tally.confusion.sum(axis=0).tolist(),
        reliability=dict(zip(tally.classes, tally.reliability.sum(axis=0).tolist(), strict=True)),
        sweep=[tuple(one) for one in threshold_sweep(tally.sweep)],
        objects_by_size={
            name: {size: (int(one[TP]), int(one[FN])) for size, one in zip(SIZE_BINS, sizes[number], strict=True)}
            for number, name in enumerate(tally.classes)
        },
    )


def block_table(tally: "Tally") -> "pd.DataFrame":
    """Return the counts of every block, class and size of object, with COLUMNS.

    Rows whose `size_bin` is "all" count pixels. The others count the pixels of labelled objects of that size: tp found,
    fn missed; fp and tn are 0 there.
    """
    import numpy as np
    import pandas as pd

    from satseg.evaluation.tally import SIZE_BINS

    counts = np.concatenate([tally.counts()[:, :, None], tally.sizes], axis=2)  # (B, K, 1 + sizes, 4)

    def rows() -> Iterator[tuple[Any, ...]]:
        for block, class_number, size in np.ndindex(counts.shape[:3]):
            entries = counts[block, class_number, size]
            if size == 0 or entries.any():
                key = tally.keys[block]
                name = (ALL_SIZES, *SIZE_BINS)[size]
                yield (key.scene, key.block, key.reference, class_number + 1, name, *entries.tolist())

    types = dict.fromkeys(("class_id", *ENTRIES), "int64") | {"reference": "bool"}
    return pd.DataFrame(list(rows()), columns=list(COLUMNS)).astype(types)


def report_folder(workspace: Workspace, project: str, run_id: str, patch_set: str) -> Path:
    """Return the folder of report.json, blocks.parquet, report.html and its pictures."""
    return workspace.evaluation(project, run_id) / patch_set


def read_report(workspace: Workspace, project: str, run_id: str, patch_set: str) -> EvaluationReport | None:
    """Return a stored report; None when there is none, or one that another version of satseg wrote."""
    path = report_folder(workspace, project, run_id, patch_set) / REPORT_FILE
    try:
        return EvaluationReport.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_blocks(workspace: Workspace, project: str, run_id: str, patch_set: str) -> "pd.DataFrame":
    """Return the counts of every block, class and size of object; see `block_table`.

    Raises:
        NotFoundError: the model was not measured on this patch set, or by an older version of satseg.
    """
    import pandas as pd

    path = report_folder(workspace, project, run_id, patch_set) / BLOCKS_FILE
    if not path.is_file():
        raise NotFoundError(
            f"There are no block counts of run {run_id} on patch set {patch_set} ({path}). "
            f"Measure it: satseg evaluate {run_id} --patch-set {patch_set} -p {project}"
        )
    return pd.read_parquet(path)


def stored_reports(workspace: Workspace, project: str, run_id: str) -> dict[str, EvaluationReport]:
    """Return all readable reports of a run by patch set."""
    paths = sorted(workspace.evaluation(project, run_id).glob(f"*/{REPORT_FILE}"))
    names = [path.parent.name for path in paths if not path.parent.name.startswith(TEMP_PREFIX)]
    reports = {name: read_report(workspace, project, run_id, name) for name in names}
    return {name: report for name, report in reports.items() if report is not None}


def write_report(folder: Path, report: EvaluationReport, blocks: "pd.DataFrame") -> None:
    """Write blocks.parquet and then report.json; call it after everything else is in the folder."""
    blocks.to_parquet(folder / BLOCKS_FILE, index=False)
    write_json(folder / REPORT_FILE, report.model_dump(mode="json"))
