"""From each kind of thing to its node and to the thing it was made from."""

from pathlib import Path
from typing import Any

import pystac

from satseg.datasets.catalog import find_tag, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.inference.item import ITEM_FILE, PredictionRecord, read_record
from satseg.lineage.node import Check, Node, facts
from satseg.lineage.verify import Verifier
from satseg.patches.patchset import open_patch_set
from satseg.storage.layout import Workspace
from satseg.tracking.models import versions
from satseg.tracking.runs import RunRecord, get_run


def prediction_node(folder: Path, verifier: Verifier) -> tuple[Node, PredictionRecord]:
    """Return a prediction with the state of its files and of the scene it shows.

    Raises:
        NotFoundError: the folder holds no finished prediction.
    """
    record = read_record(folder)
    if record is None:
        raise NotFoundError(f"{folder} holds no finished prediction ({ITEM_FILE} is missing or damaged).")
    item = pystac.Item.from_file(str(folder / ITEM_FILE))
    checks = [
        verifier.check(Path(asset.href).name, folder / Path(asset.href).name, asset.extra_fields.get("file:checksum"))
        for asset in item.assets.values()
    ]
    checks.append(verifier.check("scene", Path(record.scene_path), record.scene_checksum))
    node = Node(
        kind="prediction",
        id=item.id,
        facts=facts(
            folder=folder,
            created=item.properties.get("created"),
            scene=record.scene_path,
            scene_checksum=record.scene_checksum,
            source_checksum=record.source_checksum,
            scene_dataset_version=record.scene_dataset_version,
            objects=record.objects,
            area_m2=record.area_m2,
        ),
        checks=checks,
    )
    return node, record


def version_node(workspace: Workspace, project: str, version: str) -> tuple[Node, str | None]:
    """Return a model version and its run id; a version that was deleted from the registry is "missing"."""
    record = next((known for known in versions(workspace, project) if known.version == version), None)
    if record is None:
        return Node(kind="model_version", id=f"v{version}", facts={}, checks=[_gone("MLflow's registry")]), None
    node = Node(
        kind="model_version",
        id=f"v{version}",
        facts=facts(
            model=project,
            aliases=", ".join(record.aliases),
            stage=record.tags.get("stage"),
            registered=record.created_at.isoformat(timespec="seconds"),
            test_iou=record.tags.get("satseg.test_iou"),
            decision=record.tags.get("satseg.decision"),
        ),
    )
    return node, record.run_id


def run_nodes(workspace: Workspace, run_id: str) -> tuple[list[Node], RunRecord | None]:
    """Return a training run and the code it ran; a run that was deleted from MLflow is "missing"."""
    try:
        record = get_run(workspace, run_id)
    except NotFoundError:
        return [Node(kind="run", id=run_id, facts={}, checks=[_gone("MLflow")])], None
    tag = record.tags.get
    run = Node(
        kind="run",
        id=run_id,
        facts=facts(
            name=record.name,
            status=record.status,
            started=record.started_at.isoformat(timespec="seconds"),
            init_from=tag("satseg.init_from"),
            test_iou=record.metrics.get("test/iou"),
            artifacts=record.artifact_uri,
        ),
    )
    commit = tag("satseg.git_commit")
    uncommitted = None if commit is None else tag("satseg.git_dirty", "").lower()
    code = Node(kind="code", id=commit or "not recorded", facts=facts(uncommitted_changes=uncommitted))
    return [run, code], record


def patch_set_node(workspace: Workspace, project: str, patch_set: str) -> tuple[Node, str | None]:
    """Return a patch set and its dataset version; one that was removed is "missing"."""
    try:
        found = open_patch_set(workspace, project, patch_set)
    except NotFoundError:
        where = str(workspace.patch_set(project, patch_set))
        return Node(kind="patch_set", id=patch_set, facts={}, checks=[_gone(where)]), None
    windows = ", ".join(f"{split} {count}" for split, count in found.description.windows.items())
    checks = [_shards(found.shard_files())]
    node = Node(
        kind="patch_set",
        id=found.id,
        facts=facts(
            folder=found.folder,
            created=found.description.created.isoformat(timespec="seconds"),
            windows=windows,
            size_px=found.size_px,
        ),
        checks=checks,
    )
    return node, found.dataset_version


def dataset_nodes(workspace: Workspace, project: str, version: str, verifier: Verifier) -> list[Node]:
    """Return a dataset version and its scenes; nothing is fetched from DVC for it."""
    repository = GitRepository(workspace.data)
    try:
        tag = find_tag(repository, project, version)
    except NotFoundError:
        return [Node(kind="dataset_version", id=version, facts={}, checks=[_gone(str(workspace.data))])]
    items = read_items(repository, project, tag.commit)
    node = Node(
        kind="dataset_version",
        id=tag.name,
        facts=facts(
            repository=workspace.data,
            git_tag=f"{project}/{tag.name}",
            git_commit=tag.commit,
            created=tag.created.isoformat(timespec="seconds"),
            scenes=len(items),
            message=tag.message,
        ),
    )
    newest = tag.number == find_tag(repository, project, None).number
    return [node, *(scene_node(workspace, project, item, verifier, newest) for item in items.values())]


def scene_node(workspace: Workspace, project: str, item: dict[str, Any], verifier: Verifier, newest: bool) -> Node:
    """Return a scene of a dataset version.

    Only the newest version's files lie in the working tree; another file there is no fault of an older version, whose
    file DVC keeps.
    """
    properties = item["properties"]
    checksum = properties["satseg:checksum"]
    check = verifier.check("COG", workspace.dataset(project) / "scenes" / f"{item['id']}.tif", checksum)
    if not newest and check.state != "ok":
        check = Check(what="COG (kept by DVC)", state="not checked")
    return Node(
        kind="scene",
        id=item["id"],
        facts=facts(
            checksum=checksum,
            source=properties["satseg:source"].get("name"),
            source_checksum=properties["satseg:source"]["checksum"],
            annotation_checksum=properties["satseg:annotation_checksum"] or "unlabelled",
            ingested=properties["satseg:ingested_at"],
        ),
        checks=[check],
    )


def _gone(where: str) -> Check:
    return Check(what=f"no longer in {where}", state="missing")


def _shards(files: list[tuple[Path, Path]]) -> Check:
    there = all(path.is_file() for pair in files for path in pair)
    return Check(what="shards", state="ok" if there else "missing")
