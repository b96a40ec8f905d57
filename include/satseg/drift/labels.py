"""The stage `drift labels`: are there enough new labels for a retraining, or which scenes can annotators label."""

from typing import Any

from satseg.datasets.catalog import content_of, find_tag, read_items
from satseg.datasets.names import windows_among
from satseg.datasets.repository import GitRepository
from satseg.drift.nights import check_night
from satseg.drift.reference import champion_of
from satseg.errors import NotFoundError
from satseg.stages import LabelsResult, LabelsSpec
from satseg.storage.layout import Workspace


def run(spec: LabelsSpec, workspace: Workspace) -> LabelsResult:
    """Count the scenes labelled since the champion's dataset version; too few, and new scenes without labels are named.

    Raises:
        NotFoundError: no champion, or no dataset.
        ConfigurationError: not a night.
    """
    project, needed = spec.project.name, spec.project.retraining.min_new_scenes
    night = check_night(spec.night) if spec.night else None
    champion = champion_of(workspace, project)
    if champion is None:
        raise NotFoundError(
            f"{project} has no champion yet, so there is nothing to train again. Promote a model first."
        )
    repository = GitRepository(workspace.data)
    newest = find_tag(repository, project, None)
    known = read_items(repository, project, find_tag(repository, project, champion.dataset_version).commit)
    items = read_items(repository, project, newest.commit)
    labelled, unlabelled = new_scenes(known, items)
    words = f"{len(labelled)} labelled scenes are new since {champion.label} ({champion.dataset_version})"
    enough = len(labelled) >= needed
    warnings = []
    if not enough and not unlabelled:
        warnings = [
            f"{words}, fewer than the {needed} wanted, but no new scene is without labels: nobody can be asked."
        ]
    ask = not enough and bool(unlabelled)
    ending = f"{needed} are needed: windows of {len(unlabelled)} scenes may be asked for" if ask else "nobody is asked"
    return LabelsResult(
        message=f"{words}; {ending}.",
        warnings=warnings,
        request=f"drift-{night}" if night else f"labels-{newest.name}",
        dataset_version=newest.name,
        new_scenes=labelled,
        candidates=unlabelled if ask else [],
        enough=not ask,
    )


def new_scenes(known: dict[str, dict[str, Any]], items: dict[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the scenes whose labels, and those without labels whose pixels, an earlier version does not hold.

    Args:
        known: STAC items of the earlier version.
        items: Of the later one.
    """
    learned = {content_of(item) for item in known.values()}
    seen, windows = {pixels for pixels, _ in learned}, windows_among(items)
    labelled, unlabelled = [], []
    for scene, item in items.items():
        pixels, labels = content_of(item)
        if labels is not None and (pixels, labels) not in learned:
            labelled.append(scene)
        elif labels is None and pixels not in seen and scene not in windows:
            unlabelled.append(scene)
    return labelled, unlabelled
