"""The newest thing each stage of a project made, in one word."""

from satseg_ui.project_files import workspace


def products(project: str) -> dict[str, str]:
    """Return by stage what there is; a stage that made nothing yet is left out."""
    from satseg.datasets.catalog import list_versions
    from satseg.drift.nights import tested_nights
    from satseg.patches.patchset import latest_patch_set
    from satseg.tracking.models import versions

    space = workspace()
    models = versions(space, project)
    champion = next((record.ref.label for record in models if "champion" in record.aliases), None)
    retrained = [record.ref.label for record in models if "satseg.init_from" in record.tags]
    found = {
        "ingest": (list_versions(space, project) or [None])[-1],
        "patch": latest_patch_set(space, project),
        "train": models[-1].ref.label if models else None,
        "promote": champion,
        "predict": champion and _predicted(project, champion),
        "drift": (tested_nights(space, project) or [None])[-1],
        "retrain": (retrained or [None])[-1],
    }
    return {stage: word for stage, word in found.items() if word}


def _predicted(project: str, champion: str) -> str:
    folder = workspace().predictions(project)
    count = sum(1 for _ in folder.glob(f"*/{champion}/item.json"))
    return f"{count} scene{'' if count == 1 else 's'} by {champion}"
