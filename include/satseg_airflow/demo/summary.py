"""The table at the end of the demo."""

from pathlib import Path
from typing import Any

from rich.table import Table

from satseg_airflow.demo.chain import Outcome
from satseg_airflow.demo.plan import DemoPlan


def summary(plan: DemoPlan, outcome: Outcome, minutes: float) -> Table:
    """Return what the loop made and decided."""
    table = Table(title=f"The loop of {plan.project}, {minutes:.1f} minutes", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    windows = outcome.patches["windows"]
    split = ", ".join(f"{name} {windows.get(name, 0)}" for name in ("train", "val", "test"))
    table.add_row("Dataset", f"{outcome.ingest['dataset_version']}: {len(outcome.ingest['scenes'])} scenes")
    table.add_row("Patches", f"{outcome.patches['patch_set']}: {split}")
    table.add_row("Training", _training(outcome.train))
    table.add_row("Test split", _scores(outcome.evaluation))
    table.add_row("Model", f"version {outcome.promotion['version']}, {outcome.promotion['decision']}: champion")
    table.add_row("Predictions", _predictions(outcome.predictions))
    table.add_row(f"Night {plan.quiet_night}", f"{_night(outcome.quiet)} → no retraining")
    table.add_row(f"Night {plan.drifted_night}", f"{_night(outcome.drifted)} → retraining run {outcome.retraining_run}")
    table.add_row("Retrained model", _retrained(outcome))
    table.add_row("Drift report", str(outcome.report["report"]))
    return table


def _training(train: dict[str, Any]) -> str:
    return (
        f"{train['epochs']} epochs, best {train['best_epoch']}, val IoU {train['val_iou']:.3f} (run {train['run_id']})"
    )


def _scores(scores: dict[str, Any]) -> str:
    iou, trivial = scores["iou"], scores["iou_all_positive"]
    dice_trivial = 2 * trivial / (1 + trivial)
    return (
        f"IoU {iou:.3f}, Dice {scores['dice']:.3f}; the map that is positive everywhere: "
        f"IoU {trivial:.3f}, Dice {dice_trivial:.3f} (difference of IoU {iou - trivial:+.3f})"
    )


def _predictions(predictions: list[dict[str, Any]]) -> str:
    objects = sum(one["objects"] for one in predictions)
    first = predictions[0]
    folder = Path(first["classes"]).parent
    names = ", ".join(Path(first[kind]).name for kind in ("probability", "classes", "polygons", "preview", "item"))
    return f"{len(predictions)} scenes, {objects} objects; e.g. {folder}/: {names}"


def _night(test: dict[str, Any]) -> str:
    moved = [feature["feature"] for feature in test["features"] if feature["drifted"]]
    p_value = "" if test["p_value"] is None else f", adjusted p {test['p_value']:.3g}"
    return f"{test['verdict']}{p_value}" + (f", moved: {_few(moved)}" if moved else "")


def _few(names: list[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _retrained(outcome: Outcome) -> str:
    decided = outcome.challenger
    text = (
        f"version {decided['version']}, {decided['decision']} (IoU {outcome.retrained['iou']:.3f}, the champion before "
        f"{outcome.champion_again['iou']:.3f} on the same blocks)"
    )
    failed = [gate["evidence"] for gate in decided["gates"] if not gate["passed"]]
    return f"{text}: {'; '.join(failed)}" if failed else text
