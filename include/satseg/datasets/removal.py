"""Taking scenes out of a dataset: a new version without them; older versions keep them."""

import difflib

from satseg.config.project import ProjectConfig
from satseg.datasets.aftermath import clear, finish
from satseg.datasets.catalog import read_items, with_other_classes
from satseg.datasets.changes import Items, changes_between
from satseg.datasets.ingest import alone, time_of_ingest
from satseg.datasets.names import one_line, windows_among
from satseg.datasets.publication import Change, publish
from satseg.datasets.remote import push
from satseg.datasets.repository import GitRepository, Tag
from satseg.datasets.stac import collection
from satseg.datasets.transaction import open_transaction, reconcile
from satseg.errors import ConfigurationError, NotFoundError
from satseg.stages import IngestResult, RemoveScenesResult, RemoveScenesSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace


def run(spec: RemoveScenesSpec, workspace: Workspace) -> RemoveScenesResult:
    """Make a version without some scenes; what an earlier call took out is not an error.

    Their ground keeps its place in the split plan, so that ground a model was trained on never becomes test ground.

    Raises:
        NotFoundError: no version ever had a scene of that name; nothing is removed then.
        ConfigurationError: no scene would be left, or the class ids are no longer the project's.
        TemporaryError: the DVC remote is away (the version exists all the same), or a lock is held.
    """
    name = spec.project.name
    with alone(workspace, name):
        _end_killed_ingest(workspace, name)
        tags = GitRepository(workspace.data).tags(name)
        items = read_items(GitRepository(workspace.data), name, tags[-1].commit) if tags else {}
        wanted = sorted(set(spec.scenes))
        gone = [scene for scene in wanted if scene in items]
        _check_known([scene for scene in wanted if scene not in items], workspace, tags, items, name)
        version = tags[-1].name
        if gone:
            left = {scene: item for scene, item in items.items() if scene not in gone}
            version = _publish(workspace, spec, items, left, version)
        push(workspace)
        return _result(version, gone, items)


def _end_killed_ingest(workspace: Workspace, project: str) -> None:
    with exclusive(workspace.lock("data"), "The data repository"):
        reconcile(workspace.data)
        killed = open_transaction(workspace.data, project)
    if killed is not None and killed.result is not None:
        finish(workspace, IngestResult.model_validate(killed.result), killed)


def _check_known(missing: list[str], workspace: Workspace, tags: list[Tag], items: Items, project: str) -> None:
    if not missing:
        if tags:
            return
        raise NotFoundError(f"Project '{project}' has no dataset version yet.")
    repository = GitRepository(workspace.data)
    known = {scene for tag in tags for scene in read_items(repository, project, tag.commit)}
    for scene in missing:
        if scene not in known:
            near = difflib.get_close_matches(scene, items, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise NotFoundError(
                f"No version of project '{project}' has a scene '{one_line(scene)}'.{hint} "
                f"`satseg datasets show -p {project}` lists them."
            )


def _publish(workspace: Workspace, spec: RemoveScenesSpec, items: Items, left: Items, newest: str) -> str:
    project: ProjectConfig = spec.project
    if not left:
        raise ConfigurationError(f"{newest} of project '{project.name}' would be left without a scene. Keep one.")
    if with_other_classes(left.values(), project.classes):
        raise ConfigurationError(
            f"The labels of {newest} have other class ids than 'classes' of the project file now gives. Run satseg "
            f"ingest -p {project.name} first: it makes a version with these classes."
        )
    when = time_of_ingest()
    removed = sorted(items.keys() - left.keys())
    change = Change(items=left, collection=collection(project, left), removed=removed, when=when)
    message = changes_between(items, left).message
    if spec.reason:
        message += f"\nreason: {one_line(spec.reason)}"
    with exclusive(workspace.lock("data"), "The data repository"):
        version = publish(workspace, project.name, change, message)
    clear(workspace, project.name)
    return version


def _result(version: str, gone: list[str], items: Items) -> RemoveScenesResult:
    orphans = windows_among(items) - windows_among(items.keys() - set(gone)) - set(gone)
    stay = f"windows cut out of what was removed stay: {', '.join(sorted(orphans))}; name them too to take them out"
    said = f"without {', '.join(gone)}" if gone else "has none of them (unchanged)"
    return RemoveScenesResult(
        message=f"{version}: {said}. Older versions keep them.",
        warnings=[stay] if orphans else [],
        dataset_version=version,
        changed=bool(gone),
        removed=gone,
    )
