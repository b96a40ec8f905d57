"""The newest thing each stage of a project made, in one word."""

from collections.abc import Callable
from typing import TypeVar

from satseg.errors import SatsegError
from satseg_ui.project_files import workspace

T = TypeVar("T")


def products(project: str) -> dict[str, str]:
    """Return by stage what there is; a stage that made nothing yet is left out."""
    from satseg.datasets.catalog import list_versions
    from satseg.drift.nights import tested_nights
    from satseg.patches.patchset import latest_patch_set
    from satseg.tracking.models import versions

    space = workspace()
    models = _unless_damaged(lambda: versions(space, project))
    found = {
        "ingest": _unless_damaged(lambda: _last(list_versions(space, project))),
        "patch": _unless_damaged(lambda: latest_patch_set(space, project)),
        "drift": _unless_damaged(lambda: _last(tested_nights(space, project))),
    }
    if isinstance(models, str):
        found |= dict.fromkeys(("train", "promote", "predict", "retrain"), models)
    else:
        champion = next((record.ref.label for record in models if "champion" in record.aliases), None)
        found |= {
            "train": models[-1].ref.label if models else None,
            "promote": champion,
            "predict": champion and _predicted(project, champion),
            "retrain": _last([record.ref.label for record in models if "satseg.init_from" in record.tags]),
        }
    return {stage: word for stage, word in found.items() if word}


def _unless_damaged(read: Callable[[], T]) -> T | str:
    """Return what is read; the panel of a stage whose files cannot be read says why, the loop is shown."""
    try:
        return read()
    except SatsegError:
        return "cannot be read"


def _last(found: list[str]) -> str | None:
    return found[-1] if found else None


def _predicted(project: str, champion: str) -> str:
    folder = workspace().predictions(project)
    count = sum(1 for _ in folder.glob(f"*/{champion}/item.json"))
    return f"{count} scene{'' if count == 1 else 's'} by {champion}"
