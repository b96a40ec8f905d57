"""The chain behind a prediction, model, run, patch set, dataset version or scene, back to sources and code."""

from pathlib import Path

from satseg.datasets.catalog import last_with, read_items
from satseg.datasets.repository import GitRepository
from satseg.inference.item import PredictionRecord
from satseg.lineage import links
from satseg.lineage.node import Node
from satseg.lineage.target import Target, find_target
from satseg.lineage.users import Users
from satseg.lineage.verify import BUDGET_BYTES, Verifier
from satseg.stages import LineageResult, LineageSpec
from satseg.storage.layout import Workspace


def run(spec: LineageSpec, workspace: Workspace, budget_bytes: int = BUDGET_BYTES) -> LineageResult:
    """Return the chain from the target back to the scenes, what is wrong with each, and what was made from it.

    Links that were deleted (a run, a patch set) stand in the chain as "missing"; it goes on by what is recorded
    elsewhere. Files are compared with their checksums up to `budget_bytes`.

    Raises:
        NotFoundError: nothing is called so; the message lists what can be given.
    """
    project = spec.project.name
    target = find_target(workspace, project, spec.target)
    verifier = Verifier(workspace, project, budget_bytes)
    chain = _chain(workspace, project, target, verifier)
    verifier.save()
    uses = Users(workspace, project).of(target)
    first = chain[0].model_copy(update={"used_by": [use.words for use in uses]})
    chain = [first, *chain[1:]]
    warnings = [_complaint(node) for node in chain if node.state in {"changed", "missing"}]
    if target.note:
        warnings.append(f"'{spec.target}' is {target.note}: write that to see it.")
    return LineageResult(
        message=" ← ".join(_words(chain)),
        chain=[node.as_dict() for node in chain],
        uses=[use.model_dump(mode="json") for use in uses],
        warnings=warnings,
    )


def _complaint(node: Node) -> str:
    wrong = ", ".join(f"{check.what} {check.state}" for check in node.checks if check.state != "ok")
    return f"{node.kind.replace('_', ' ')} {node.id}: {wrong}"


def _words(chain: list[Node]) -> list[str]:
    scenes = [node for node in chain if node.kind == "scene"]
    words = [f"{node.kind.replace('_', ' ')} {node.id}" for node in chain if node.kind not in {"scene", "code"}]
    if scenes:
        words.append(f"scene {scenes[0].id}" if len(scenes) == 1 else f"{len(scenes)} scenes")
    return words


def _chain(workspace: Workspace, project: str, target: Target, verifier: Verifier) -> list[Node]:
    if target.kind == "prediction":
        node, record = links.prediction_node(Path(target.name), verifier)
        return [node, *_behind_prediction(workspace, record, verifier)]
    if target.kind == "model_version":
        node, run_id = links.version_node(workspace, project, target.name)
        return [node, *(_behind_run(workspace, project, run_id, verifier) if run_id else [])]
    if target.kind == "run":
        return _behind_run(workspace, project, target.name, verifier)
    if target.kind == "patch_set":
        return _behind_patch_set(workspace, project, target.name, None, verifier)
    if target.kind == "dataset_version":
        return links.dataset_nodes(workspace, project, target.name, verifier)
    return _scene(workspace, project, target.name, verifier)


def _behind_prediction(workspace: Workspace, record: PredictionRecord, verifier: Verifier) -> list[Node]:
    nodes = []
    if record.model_version:
        nodes.append(links.version_node(workspace, record.project, record.model_version)[0])
    return nodes + _behind_run(workspace, record.project, record.run_id, verifier, record)


def _behind_run(
    workspace: Workspace, project: str, run_id: str, verifier: Verifier, record: PredictionRecord | None = None
) -> list[Node]:
    nodes, found = links.run_nodes(workspace, run_id)
    tags = found.tags if found else {}
    patch_set = tags.get("satseg.patch_set") or (record.patch_set if record else None)
    dataset = tags.get("satseg.dataset_version") or (record.dataset_version if record else None)
    if patch_set:
        nodes += _behind_patch_set(workspace, project, patch_set, dataset, verifier)
    elif dataset:
        nodes += links.dataset_nodes(workspace, project, dataset, verifier)
    return nodes


def _behind_patch_set(
    workspace: Workspace, project: str, patch_set: str, dataset: str | None, verifier: Verifier
) -> list[Node]:
    node, recorded = links.patch_set_node(workspace, project, patch_set)
    version = recorded or dataset
    return [node, *(links.dataset_nodes(workspace, project, version, verifier) if version else [])]


def _scene(workspace: Workspace, project: str, scene: str, verifier: Verifier) -> list[Node]:
    repository = GitRepository(workspace.data)
    found = last_with(repository, project, scene)
    assert found is not None  # the target was found
    tag, without = found
    item = read_items(repository, project, tag.commit)[scene]
    dataset = links.dataset_nodes(workspace, project, tag.name, verifier)[0]
    node = links.scene_node(workspace, project, item, verifier, newest=without is None)
    if without is not None:
        node = node.model_copy(update={"facts": node.facts | {"removed_by": f"dataset version {without.name}"}})
    return [node, dataset]
