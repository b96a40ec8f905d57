"""The description of a model version: a model card (Mitchell et al. 2019, arXiv:1810.03993), and its tags."""

from satseg.config.project import ProjectConfig
from satseg.errors import SatsegError
from satseg.patches.patchset import SPLITS, open_patch_set
from satseg.stages import EvaluateResult
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, set_description
from satseg.tracking.runs import RunRecord, get_run

COPIED_TAGS = (
    "satseg.dataset_version", "satseg.patch_set", "satseg.git_commit", "satseg.init_from", "satseg.drift_night",
)  # fmt: skip
TEST_IOU_TAG = "satseg.test_iou"
SHOWN_PARAMS = ("architecture", "backbone", "loss", "epochs", "batch_size", "learning_rate", "seed")
MOST_SCENES = 12
LONGEST = 4900  # MLflow's database cuts or refuses longer descriptions
OF_THE_WHOLE = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_iou": "boundary IoU",
    "object_f1": "object F1 at IoU 0.5",
    "ece": "calibration error (ECE)",
}
USUAL_LIMITS = (
    "Measured on spatially held-out blocks of the scenes above: other sensors, seasons and regions are not covered by "
    "these numbers."
)


def version_tags(record: RunRecord) -> dict[str, str]:
    """Return the tags of a new version: what it was made from, and its test IoU when it was evaluated."""
    tags = {name: record.tags[name] for name in COPIED_TAGS if record.tags.get(name)}
    if "test/iou" in record.metrics:
        tags[TEST_IOU_TAG] = f"{record.metrics['test/iou']:.4f}"
    return tags


def refresh_card(workspace: Workspace, project: ProjectConfig, ref: ModelRef, result: EvaluateResult) -> None:
    """Write the card of a version anew, with what it was measured at since."""
    card = model_card(workspace, project, get_run(workspace, ref.run_id), result)
    set_description(workspace, project.name, str(ref.version), card)


def model_card(workspace: Workspace, project: ProjectConfig, record: RunRecord, result: EvaluateResult | None) -> str:
    """Return the card: intended use, data, training, results with intervals, limits."""
    use = project.promotion.intended_use or f"Maps of {', '.join(project.classes)} like those it was trained on."
    limits = [text for text in (project.promotion.limits, USUAL_LIMITS) if text]
    parts = [
        f"**{project.name}** {project.description}".strip(),
        f"**Intended use** {use}",
        f"**Maps** {', '.join(project.classes)} from bands {', '.join(project.bands)}"
        + (f" at {project.gsd_m} m per pixel." if project.gsd_m else "."),
        f"**Data** {_data(workspace, project, record)}",
        f"**Training** {_training(record)}",
        *_retraining(record),
        f"**Results** {_results(result)}",
        f"**Limits** {' '.join(limits)}",
    ]
    return "\n\n".join(parts)[:LONGEST]


def _data(workspace: Workspace, project: ProjectConfig, record: RunRecord) -> str:
    name = record.tags.get("satseg.patch_set")
    text = f"dataset {record.tags.get('satseg.dataset_version', '?')}, patch set {name or '?'}"
    licence = f" Licence: {project.promotion.licence or 'not stated'}."
    try:
        patch_set = open_patch_set(workspace, project.name, name) if name else None
    except SatsegError:  # a card tells what is left; that files are gone is not its business
        patch_set = None
    if patch_set is None:
        return f"{text}.{licence}"
    windows = ", ".join(f"{split} {patch_set.description.windows.get(split, 0)}" for split in SPLITS)
    shares = ", ".join(
        f"{label} {share:.1%}"
        for label, share in zip(patch_set.statistics.classes, patch_set.statistics.class_fractions, strict=False)
    )
    scenes = len(patch_set.description.scenes)
    return f"{text}: {scenes} labelled scenes, windows of {patch_set.size_px} px ({windows}); {shares}.{licence}"


def _training(record: RunRecord) -> str:
    tag = record.tags.get
    settings = [f"{name} {value}" for name in SHOWN_PARAMS if (value := _param(record, name)) is not None]
    start = f", started from {tag('satseg.init_from')}" if tag("satseg.init_from") else ""
    changed = " with uncommitted changes" if tag("satseg.git_dirty", "").lower() == "true" else ""
    words = f"run {record.id}{start}" + (f"; {', '.join(settings)}" if settings else "")
    return f"{words}; code git {tag('satseg.git_commit', '?')}{changed}."


def _retraining(record: RunRecord) -> list[str]:
    """Return what `satseg drift evidence` kept with a run that was trained again."""
    reason, outcome = (record.tags.get(f"satseg.retrained_{name}") for name in ("because", "outcome"))
    return [f"**Trained again** because {reason}. Champion → this model: {outcome}."] if reason and outcome else []


def _param(record: RunRecord, name: str) -> str | None:
    # parameters are logged by their path in the project file
    for key in (name, f"training.{name}"):
        if key in record.params:
            return record.params[key]
    return None


def _results(result: EvaluateResult | None) -> str:
    if result is None:
        return "not evaluated when it was registered."
    rows = [
        f"| {words} | {value:.3f} | {_interval(result, name)} |"
        for name, words in OF_THE_WHOLE.items()
        if (value := getattr(result, name)) is not None
    ]
    known = {name: scores.iou for name, scores in sorted(result.per_scene.items()) if scores.iou is not None}
    scenes = [f"{name} {value:.3f}" for name, value in known.items()]
    more = f" and {len(scenes) - MOST_SCENES} more" if len(scenes) > MOST_SCENES else ""
    return "\n".join(
        [
            f"on {result.blocks} held-out blocks (a map that is positive everywhere has IoU "
            f"{result.iou_all_positive:.3f}).",
            "",
            "| score | value | 95% interval over blocks |",
            "|---|---|---|",
            *rows,
            "",
            f"IoU by scene: {', '.join(scenes[:MOST_SCENES])}{more}." if scenes else "",
        ]
    ).rstrip()


def _interval(result: EvaluateResult, name: str) -> str:
    found = result.intervals.get(name)
    if found is None or found.low is None or found.high is None:
        return "–"
    return f"{found.low:.3f} to {found.high:.3f}" + (" (few blocks)" if found.warning else "")
