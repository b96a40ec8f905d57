"""The description of a model version: a small model card in Markdown, and its tags."""

from satseg.config.project import ProjectConfig
from satseg.stages import EvaluateResult
from satseg.tracking.runs import RunRecord

COPIED_TAGS = ("satseg.dataset_version", "satseg.patch_set", "satseg.git_commit", "satseg.init_from")
TEST_IOU_TAG = "satseg.test_iou"
SHOWN_PARAMS = ("architecture", "backbone", "loss", "epochs", "batch_size", "learning_rate", "seed")


def version_tags(record: RunRecord) -> dict[str, str]:
    """Return the tags of a new version: what it was made from, and its test IoU when it was evaluated."""
    tags = {name: record.tags[name] for name in COPIED_TAGS if record.tags.get(name)}
    if "test/iou" in record.metrics:
        tags[TEST_IOU_TAG] = f"{record.metrics['test/iou']:.4f}"
    return tags


def _param(record: RunRecord, name: str) -> str | None:
    # parameters are logged by their path in the project file
    for key in (name, f"training.{name}"):
        if key in record.params:
            return record.params[key]
    return None


def model_card(project: ProjectConfig, record: RunRecord, result: EvaluateResult | None) -> str:
    """Return the card: what the model maps, data, training, results and limits."""
    tag = record.tags.get
    settings = [f"{name} {value}" for name in SHOWN_PARAMS if (value := _param(record, name)) is not None]
    lines = [
        f"**{project.name}** {project.description}".strip(),
        "",
        f"- Maps: {', '.join(project.classes)} from bands {', '.join(project.bands)}"
        + (f" at {project.gsd_m} m per pixel." if project.gsd_m else "."),
        f"- Data: dataset {tag('satseg.dataset_version', '?')}, patch set {tag('satseg.patch_set', '?')}.",
        f"- Training: run {record.id}"
        + (f" from {tag('satseg.init_from')}" if tag("satseg.init_from") else "")
        + (f"; {', '.join(settings)}." if settings else "."),
        f"- Code: git {tag('satseg.git_commit', '?')}"
        + (" with uncommitted changes." if tag("satseg.git_dirty", "").lower() == "true" else "."),
        f"- Results: {_results(result)}",
        "- Limits: measured on spatially held-out blocks of the scenes above; other sensors, seasons and regions are "
        "not covered by these numbers.",
    ]
    return "\n".join(lines)


def _results(result: EvaluateResult | None) -> str:
    if result is None:
        return "not evaluated when it was registered."
    return (
        f"test IoU {result.iou:.3f}, Dice {result.dice:.3f}, precision {result.precision:.3f}, recall "
        f"{result.recall:.3f} in {result.blocks} held-out blocks; the map that is positive everywhere has IoU "
        f"{result.iou_all_positive:.3f}."
    )
