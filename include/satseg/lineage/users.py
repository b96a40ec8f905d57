"""The way forward: what was made from a thing, one step."""

from satseg.inference.item import ITEM_FILE
from satseg.lineage.target import Target
from satseg.patches.patchset import list_patch_sets
from satseg.storage.layout import Workspace
from satseg.tracking.models import versions
from satseg.tracking.runs import find_runs


def used_by(workspace: Workspace, project: str, target: Target) -> list[str]:
    """Return what was made directly from the target, as `kind name`; of a prediction nothing is."""
    if target.kind == "scene":
        return _predictions(workspace, project, target.name, "*")
    if target.kind == "dataset_version":
        sets = list_patch_sets(workspace, project)
        return [f"patch set {found.id}" for found in sets if found.dataset_version == target.name]
    if target.kind == "patch_set":
        runs = find_runs(workspace, project, {"satseg.patch_set": target.name})
        return [f"run {run.id}" for run in reversed(runs)]
    if target.kind == "run":
        found = [record for record in versions(workspace, project) if record.run_id == target.name]
        return [f"model v{record.version}" for record in found]
    if target.kind == "model_version":
        return _predictions(workspace, project, "*", f"v{target.name}")
    return []


def _predictions(workspace: Workspace, project: str, scene: str, model: str) -> list[str]:
    root = workspace.prediction(project, "x", "x").parent.parent
    return [f"prediction {path.parent}" for path in sorted(root.glob(f"{scene}/{model}/{ITEM_FILE}"))]
