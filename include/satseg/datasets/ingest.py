"""The stage `ingest`: from a folder of scenes and labels to a dataset version."""

import shutil

from rasterio.crs import CRS
from rasterio.errors import CRSError

from satseg.datasets.aftermath import clear, finish, move, plan_moves
from satseg.datasets.catalog import read_items, scenes_added
from satseg.datasets.checking import Checked, check
from satseg.datasets.discovery import Discovery, discover
from satseg.datasets.preparation import Newest, Preparation, Prepared
from satseg.datasets.publication import Change, prepare_repository, publish
from satseg.datasets.quarantine import quarantine
from satseg.datasets.repository import GitRepository
from satseg.datasets.stac import collection
from satseg.datasets.transaction import Transaction, open_transaction, reconcile
from satseg.errors import BadDataError, ConfigurationError
from satseg.progress import say
from satseg.stages import IngestResult, IngestSpec
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace


def run(spec: IngestSpec, workspace: Workspace) -> IngestResult:
    """Ingest a folder of scenes: check, convert, validate, and make a version when anything is new.

    Raises:
        ConfigurationError: the folder does not exist, or the project's CRS is unknown.
        BadDataError: no scene can be used; nothing is versioned, the reasons lie in quarantine/.
        TemporaryError: the DVC remote is away (the version exists all the same), or a lock is held.
    """
    try:
        if spec.project.crs is not None:
            CRS.from_user_input(spec.project.crs)
    except CRSError as error:
        raise ConfigurationError(
            f"Project file: crs {spec.project.crs!r} is unknown; write it like EPSG:32636."
        ) from error
    name = spec.project.name
    with exclusive(workspace.lock(f"ingest-{name}"), f"Ingest of project '{name}'"):
        return _Ingest(spec, workspace).run()


class _Ingest:
    """One ingest; its lock is held."""

    def __init__(self, spec: IngestSpec, workspace: Workspace) -> None:
        self._spec = spec
        self._project = spec.project
        self._workspace = workspace
        self._incoming = workspace.incoming(spec.project.name).resolve()
        self._source = (spec.source or self._incoming).resolve()
        self._newest = Newest({})
        self._killed: Transaction | None = None

    def run(self) -> IngestResult:
        self._recover()
        found = self._discover()
        if not found.scenes:
            return self._nothing(found)
        checked = self._check(found)
        if not checked.accepted:
            shutil.rmtree(self._workspace.staging(self._project.name), ignore_errors=True)
            raise BadDataError(self._only_bad(checked))
        version = self._publish(checked.fresh) if checked.fresh else self._newest.version
        result = self._result(checked, version)
        moves = plan_moves(self._workspace, self._project.name, found, checked, version)
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
            move(self._incoming, self._killed.moves)
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
        awaiting = [scene for scene, item in known.items() if item["properties"]["satseg:label_source"] != "stem"]
        found = discover(self._source, known, awaiting)
        rasters = sum(scene.raster is not None for scene in found.scenes)
        alone = len(found.scenes) - rasters
        say(f"{self._source}: {rasters} scenes, labels alone for {alone}, {len(found.ignored)} other files ignored")
        return found

    def _nothing(self, found: Discovery) -> IngestResult:
        """Answer for a folder without scenes."""
        if self._source == self._incoming and self._killed is not None and self._killed.result is not None:
            clear(self._workspace, self._project.name)  # the killed ingest had done everything but say so
            return IngestResult.model_validate(self._killed.result)
        if self._source == self._incoming and self._newest.version:
            return IngestResult(
                message=f"{self._source} holds no scenes; {self._newest.version} stays the newest version.",
                dataset_version=self._newest.version,
                changed=False,
                scenes=[],
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
        for entry in checked.rejected:
            say(f"quarantined {entry.name}: {'; '.join(entry.reasons)}")
            quarantine(self._workspace.quarantine(self._project.name), entry, self._source)
        return checked

    def _only_bad(self, checked: Checked) -> str:
        reasons = "; ".join(f"{entry.name}: {', '.join(entry.reasons)}" for entry in checked.rejected[:5])
        more = f"; and {len(checked.rejected) - 5} more" if len(checked.rejected) > 5 else ""
        folder = self._workspace.quarantine(self._project.name)
        return f"No scene can be used, so there is no new version. {reasons}{more}. See reasons.json below {folder}."

    def _publish(self, fresh: list[Prepared]) -> str:
        items = dict(sorted({**self._newest.items, **{scene.id: scene.item for scene in fresh}}.items()))
        change = Change(
            items=items,
            collection=collection(self._project, items),
            cogs={scene.id: scene.cog for scene in fresh if scene.cog is not None},
            tables={scene.id: scene.table for scene in fresh if scene.table is not None},
            changed=[scene.id for scene in fresh],
        )
        with exclusive(self._workspace.lock("data"), "The data repository"):
            reconcile(self._workspace.data)
            prepare_repository(self._workspace)
            return publish(self._workspace, self._project.name, change, self._summary(fresh))

    def _summary(self, fresh: list[Prepared]) -> str:
        added = [scene.id for scene in fresh if scene.id not in self._newest.items]
        changed = [scene.id for scene in fresh if scene.id in self._newest.items]
        counts = [f"{len(names)} {what}" for names, what in ((added, "added"), (changed, "changed")) if names]
        named = ", ".join([*added, *changed][:10]) + (", …" if len(fresh) > 10 else "")
        return f"{', '.join(counts)} ({named})"

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
