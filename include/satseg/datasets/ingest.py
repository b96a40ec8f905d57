"""The stage `ingest`: from a folder of scenes and labels to a dataset version."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.config.settings import settings
from satseg.datasets.aftermath import finish, move, plan_moves, plan_returns
from satseg.datasets.catalog import read_items, scenes_added, with_other_classes
from satseg.datasets.changes import changes_between
from satseg.datasets.checking import Checked, check
from satseg.datasets.discovery import Discovery, discover
from satseg.datasets.preparation import Newest, Preparation, Prepared
from satseg.datasets.publication import Change, dated, prepare_repository, publish
from satseg.datasets.quarantine import note_again, quarantine
from satseg.datasets.remote import push
from satseg.datasets.renumbering import check_classes, renumbered
from satseg.datasets.repository import GitRepository
from satseg.datasets.retry import Quarantined, find_quarantined
from satseg.datasets.rules import canonical_crs, scene_rules
from satseg.datasets.stac import collection
from satseg.datasets.transaction import Transaction, open_transaction, reconcile
from satseg.errors import BadDataError, ConfigurationError, LockHeldError
from satseg.progress import say
from satseg.stages import IngestResult, IngestSpec
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace


def run(spec: IngestSpec, workspace: Workspace) -> IngestResult:
    """Ingest a folder of scenes: check, convert, validate, and make a version when anything is new.

    Two ingests of a project run one after the other.

    Raises:
        ConfigurationError: the folder does not exist or holds the workspace, or a CRS of the project file is unknown.
        BadDataError: no scene can be used; nothing is versioned, the reasons lie in quarantine/.
        TemporaryError: the DVC remote is away (the version exists all the same), or a lock is held.
    """
    if spec.project.crs is not None:
        canonical_crs(spec.project.crs, "crs")
    scene_rules(spec.project)  # an unknown CRS in validation.crs is wrong usage, not a bad scene
    if spec.retry_quarantine and spec.source is not None:
        raise ConfigurationError("Give a SOURCE or --retry-quarantine, not both.")
    if spec.source is not None and workspace.root.resolve().is_relative_to(spec.source.resolve()):
        raise ConfigurationError(
            f"{spec.source} holds the workspace {workspace.root}, whose own files are no new scenes. Give the "
            "folder of the scenes alone."
        )
    with alone(workspace, spec.project.name):
        return _Ingest(spec, workspace).run()


def time_of_ingest() -> datetime:
    """Return the time that a version made now and its new scenes get: now, or what SATSEG_INGEST_TIME says."""
    return (settings().ingest_time or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)


@contextmanager
def alone(workspace: Workspace, project: str) -> Iterator[None]:
    """Hold off whatever else makes versions of a project."""
    lock, what = workspace.lock(f"ingest-{project}"), f"Ingest of project '{project}'"
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(lock, what, timeout_s=0))
        except LockHeldError:
            say(f"another ingest of project '{project}' is at work; waiting for it")
            held.enter_context(exclusive(lock, what))
        yield


class _Ingest:
    """One ingest; its lock is held."""

    def __init__(self, spec: IngestSpec, workspace: Workspace) -> None:
        self._spec = spec
        self._project = spec.project
        self._workspace = workspace
        self._incoming = workspace.incoming(spec.project.name).resolve()
        self._quarantine = workspace.quarantine(spec.project.name).resolve()
        self._source = self._quarantine if spec.retry_quarantine else (spec.source or self._incoming).resolve()
        self._newest = Newest({})
        self._killed: Transaction | None = None
        self._waiting: Quarantined | None = None

    def run(self) -> IngestResult:
        self._recover()
        found = self._discover()
        stale = self._stale(found)
        if not found.scenes and not (stale and self._source == self._incoming):
            return self._nothing(found)
        checked = self._check(found)
        if checked.rejected and not checked.accepted:
            shutil.rmtree(self._workspace.staging(self._project.name), ignore_errors=True)
            raise BadDataError(self._only_bad(checked))
        fresh = {scene.id for scene in checked.fresh}
        kept = [item for item in stale if item["id"] not in fresh]
        checked.fresh += renumbered(self._workspace, self._project, self._newest, kept)
        version = self._publish(checked.fresh) if checked.fresh else self._newest.version
        result = self._result(checked, version)
        moves = self._moves(found, checked, version)
        # base "": this transaction has nothing to undo
        transaction = open_transaction(self._workspace.data, self._project.name) or Transaction(
            project=self._project.name, version=version, base=""
        )
        update = {"moves": moves, "result": result.model_dump(mode="json")}
        finish(self._workspace, result, transaction.model_copy(update=update))
        return result

    def _recover(self) -> None:
        """Undo what a killed ingest left half-made, and end what it left half-finished."""
        name, repository = self._project.name, GitRepository(self._workspace.data)
        with exclusive(self._workspace.lock("data"), "The data repository"):
            reconcile(self._workspace.data)
            tags = repository.tags(name)
            self._killed = open_transaction(self._workspace.data, name)
        if tags:
            self._newest = Newest(read_items(repository, name, tags[-1].commit), tags[-1].commit, tags[-1].name)
        if self._killed is not None:
            move(self._workspace, name, self._killed.moves)
        for folder in (
            self._workspace.staging(name),
            self._workspace.quarantine(name),
            self._workspace.validation(name),
        ):
            remove_stale_temps(folder)

    def _discover(self) -> Discovery:
        if self._source == self._incoming:
            self._source.mkdir(parents=True, exist_ok=True)
        known = self._newest.items
        if self._spec.retry_quarantine:
            self._waiting = find_quarantined(self._quarantine, known)
            say(f"{self._quarantine}: {len(self._waiting.found.scenes)} scenes to check again")
            return self._waiting.found
        awaiting = [scene for scene, item in known.items() if item["properties"]["satseg:label_source"] != "stem"]
        found = discover(self._source, known, awaiting)
        rasters = sum(scene.raster is not None for scene in found.scenes)
        alone = len(found.scenes) - rasters
        say(f"{self._source}: {rasters} scenes, labels alone for {alone}, {len(found.ignored)} other files ignored")
        return found

    def _stale(self, found: Discovery) -> list[dict[str, Any]]:
        """Return the items whose class ids are no longer the project's; refuse classes that lack a used one."""
        relabelled = {scene.id for scene in found.scenes if scene.labels or scene.shared_labels}
        items = self._newest.items
        check_classes([item for scene, item in items.items() if scene not in relabelled], self._project.classes)
        return with_other_classes(items.values(), self._project.classes)

    def _nothing(self, found: Discovery) -> IngestResult:
        """Answer for a folder without scenes."""
        if self._source == self._incoming and self._killed is not None and self._killed.result is not None:
            result = IngestResult.model_validate(self._killed.result)
            finish(self._workspace, result, self._killed)  # at most the sending is left, and to say so
            return result
        if self._spec.retry_quarantine or (self._source == self._incoming and self._newest.version):
            push(self._workspace)  # what an earlier ingest could not send
            version = self._newest.version or None
            kept = f"{version} stays the newest version" if version else "there is no version yet"
            return IngestResult(
                message=f"{self._source} holds no scenes; {kept}.", dataset_version=version, changed=False, scenes=[]
            )
        others = f" ({len(found.ignored)} other files)" if found.ignored else ""
        raise BadDataError(
            f"{self._source} holds no scenes{others}. Put GeoTIFF, PNG or JPEG files there, with LabelMe (.json) or "
            "GeoJSON labels of the same name."
        )

    def _check(self, found: Discovery) -> Checked:
        preparation = Preparation(self._workspace, self._project, self._newest, force=self._spec.force)
        folder = self._workspace.validation(self._project.name)
        checked = check(found, preparation, self._project, self._newest, folder)
        self._began = preparation.began
        for entry in checked.rejected:
            say(f"quarantined {entry.name}: {'; '.join(entry.reasons)}")
            if self._waiting is None:
                quarantine(self._quarantine, entry, self._source)
            else:
                note_again(self._waiting.folders[entry.id], entry.reasons)
        return checked

    def _moves(self, found: Discovery, checked: Checked, version: str) -> list[tuple[Path, Path]]:
        name = self._project.name
        if not found.scenes:
            return []
        if self._waiting is None:
            return plan_moves(self._workspace, name, found, checked, version)
        return plan_returns(self._workspace, name, self._waiting, checked, version)

    def _only_bad(self, checked: Checked) -> str:
        reasons = "; ".join(f"{entry.name}: {', '.join(entry.reasons)}" for entry in checked.rejected[:5])
        more = f"; and {len(checked.rejected) - 5} more" if len(checked.rejected) > 5 else ""
        folder = self._workspace.quarantine(self._project.name)
        return f"No scene can be used, so there is no new version. {reasons}{more}. See reasons.json below {folder}."

    def _publish(self, fresh: list[Prepared]) -> str:
        when = time_of_ingest()  # not when the ingest began: until now no reader could have seen these scenes
        new = {scene.id: dated(scene.item, self._began, when) for scene in fresh}
        items = dict(sorted({**self._newest.items, **new}.items()))
        change = Change(
            items=items,
            collection=collection(self._project, items),
            cogs={scene.id: scene.cog for scene in fresh if scene.cog is not None},
            tables={scene.id: scene.table for scene in fresh if scene.table is not None},
            changed=list(new),
            when=when,
        )
        with exclusive(self._workspace.lock("data"), "The data repository"):
            reconcile(self._workspace.data)
            prepare_repository(self._workspace, when)
            message = changes_between(self._newest.items, items).message
            return publish(self._workspace, self._project.name, change, message)

    def _result(self, checked: Checked, version: str) -> IngestResult:
        new = sorted(scene.id for scene in checked.fresh)
        if not new and self._killed is not None and self._killed.base and self._killed.version == version:
            # the killed ingest made this version and could not say so
            new = scenes_added(self._workspace, self._project.name, version)
        ending = f", {len(checked.rejected)} quarantined" if checked.rejected else ""
        ending += f", {len(checked.warnings)} warnings" if checked.warnings else ""
        state = "" if new else " (unchanged)"
        return IngestResult(
            message=f"{version}{state}: {len(checked.accepted)} scenes accepted, {len(new)} new or changed{ending}.",
            warnings=checked.warnings,
            dataset_version=version,
            changed=bool(new),
            scenes=sorted(scene.id for scene in checked.accepted),
            new_scenes=new,
            quarantined={entry.id: list(entry.reasons) for entry in checked.rejected},
        )
