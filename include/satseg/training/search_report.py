"""What is kept of a finished search: a table and a picture, in its folder and in its MLflow run."""

from dataclasses import asdict
from pathlib import Path

from satseg.storage.atomic import replacing_file, write_json
from satseg.storage.layout import Workspace
from satseg.tracking.patience import patiently
from satseg.tracking.runs import finish_run
from satseg.training.search_folder import PlannedSearch, SearchFolder
from satseg.training.study import TrialRecord

TABLE_FILE = "trials.json"
PICTURE_FILE = "history.png"
_COLOURS = {"complete": "tab:blue", "pruned": "tab:orange"}


def report(workspace: Workspace, search: PlannedSearch, records: list[TrialRecord], best: TrialRecord) -> None:
    """Write trials.json and history.png, log them to the search's run and end it.

    Raises:
        TemporaryError: MLflow does not answer.
    """
    folder = SearchFolder(workspace, search.project.name, search.study).path
    write_json(folder / TABLE_FILE, [asdict(record) for record in records])
    draw_history(records, folder / PICTURE_FILE)
    tags = {"satseg.best_run": best.run_id or "", "satseg.best_trial": str(best.place)}
    tags |= {f"satseg.best.{key}": str(value) for key, value in best.values.items()}
    files = {folder / TABLE_FILE: "", folder / PICTURE_FILE: ""}
    metrics = {"best_val_iou": best.val_iou or 0.0, "trials": float(len(records))}
    patiently(lambda: finish_run(workspace, search.parent_run, metrics=metrics, tags=tags, files=files))


def draw_history(records: list[TrialRecord], path: Path) -> None:
    """Write a PNG with the val IoU of each trial and the best so far."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for state, colour in _COLOURS.items():
        told = [(record.place, record.val_iou) for record in records if record.state == state and record.val_iou]
        if told:
            axes.plot(*zip(*told, strict=True), "o", color=colour, label=state)
    places: list[int] = []
    best: list[float] = []
    for record in records:
        if record.state == "complete" and record.val_iou is not None:
            places.append(record.place)
            best.append(max([record.val_iou, *best[-1:]]))
    axes.step(places, best, where="post", color="grey", label="best so far")
    axes.set(xlabel="trial", ylabel="val IoU", ylim=(0, 1))
    axes.legend()
    with replacing_file(path) as temp:
        figure.savefig(temp, dpi=100, format="png")
