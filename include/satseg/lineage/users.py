"""The way forward: everything that was made from a thing, and from that, down to the maps."""

from collections.abc import Callable, Iterator
from functools import cached_property

from satseg.datasets.catalog import read_items
from satseg.datasets.repository import GitRepository
from satseg.inference.item import ITEM_FILE, PredictionRecord, read_record
from satseg.lineage.node import Use
from satseg.lineage.target import Target
from satseg.patches.patchset import PatchSetDescription, list_patch_sets
from satseg.storage.layout import Workspace
from satseg.tracking.models import VersionRecord, versions
from satseg.tracking.runs import RunRecord, find_runs

INIT_FROM = "satseg.init_from"


class Users:
    """What is recorded of a project, asked for at most once each."""

    def __init__(self, workspace: Workspace, project: str) -> None:
        self._workspace = workspace
        self._project = project

    def of(self, target: Target) -> list[Use]:
        """Return what was made directly from a thing, each with what was made from it in turn.

        Of a prediction nothing is. A run that a second run started from has that one among its uses.
        """
        if target.kind == "prediction":
            return []
        return list(
            {
                "scene": self._of_scene,
                "dataset_version": self._of_dataset,
                "patch_set": self._of_patch_set,
                "run": self._of_run,
                "model_version": self._of_version,
            }[target.kind](target.name)
        )

    # --- steps, each from what the thing after it says of itself ------------------------------------------------
    def _of_scene(self, scene: str) -> Iterator[Use]:
        repository = GitRepository(self._workspace.data)
        for tag in repository.tags(self._project):
            if scene in read_items(repository, self._project, tag.commit):
                sets = [found for found in self._patch_sets if found.dataset_version == tag.name]
                made = [self._use_of_set(found) for found in sets if scene in (found.scenes or [scene])]
                yield Use(kind="dataset_version", id=tag.name, uses=made)
        yield from (Use(kind="prediction", id=folder) for folder, shown, _ in self._maps if shown == scene)

    def _of_dataset(self, version: str) -> Iterator[Use]:
        yield from (self._use_of_set(found) for found in self._patch_sets if found.dataset_version == version)

    def _of_patch_set(self, patch_set: str) -> Iterator[Use]:
        yield from self._trained(lambda run: run.tags.get("satseg.patch_set") == patch_set)

    def _of_run(self, run_id: str) -> Iterator[Use]:
        for record in self._versions:
            if record.run_id == run_id:
                yield Use(kind="model_version", id=f"v{record.version}", uses=list(self._maps_of(record.version)))
        yield from self._retrained(run_id)

    def _of_version(self, version: str) -> Iterator[Use]:
        yield from self._maps_of(version)
        runs = [record.run_id for record in self._versions if record.version == version]
        yield from (use for run_id in runs for use in self._retrained(run_id))

    # --- what there is ------------------------------------------------------------------------------------------
    @cached_property
    def _patch_sets(self) -> list[PatchSetDescription]:
        return list_patch_sets(self._workspace, self._project)

    @cached_property
    def _runs(self) -> list[RunRecord]:
        return list(reversed(find_runs(self._workspace, self._project, {})))

    @cached_property
    def _versions(self) -> list[VersionRecord]:
        return versions(self._workspace, self._project)

    @cached_property
    def _maps(self) -> list[tuple[str, str, PredictionRecord]]:
        """Folder, scene and record of every prediction in the workspace."""
        root = self._workspace.predictions(self._project)
        folders = [path.parent for path in sorted(root.glob(f"*/*/{ITEM_FILE}"))]
        records = [(folder, read_record(folder)) for folder in folders]
        return [(str(folder), folder.parent.name, record) for folder, record in records if record is not None]

    def _maps_of(self, version: str) -> Iterator[Use]:
        for folder, _, record in self._maps:
            if record.model_version == version:
                yield Use(kind="prediction", id=folder)

    def _use_of_set(self, found: PatchSetDescription) -> Use:
        return Use(kind="patch_set", id=found.id, uses=list(self._of_patch_set(found.id)))

    def _trained(self, wanted: Callable[[RunRecord], bool]) -> Iterator[Use]:
        for run in self._runs:
            if wanted(run):
                yield Use(kind="run", id=run.id, uses=list(self._of_run(run.id)))

    def _retrained(self, run_id: str) -> Iterator[Use]:
        yield from self._trained(lambda run: run.tags.get(INIT_FROM) == run_id and run.id != run_id)
