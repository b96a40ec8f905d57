"""Dataset versions, what is in them and between them, the quarantine; starting an ingest."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg_ui.airflow_calls import Started, start_run
from satseg_ui.paging import Page, PageQuery
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}", tags=["datasets"])
NEWEST = "newest"
Version = Annotated[
    str, Path(description="v3, 3, or newest.", pattern=rf"^(v?[0-9]{{1,9}}|{NEWEST})$", examples=["v1", NEWEST])
]


class VersionRow(BaseModel):
    """A dataset version."""

    version: str = Field(examples=["v3"])
    created: datetime
    commit: str
    scenes: int = Field(examples=[48])
    labelled: int = Field(description="Scenes with a label file.", examples=[48])
    polygons: int = Field(examples=[912])
    message: str
    changes: list[str]


class SceneRow(BaseModel):
    """A scene of a version."""

    scene: str = Field(examples=["ggaba_a"])
    width: int
    height: int
    bands: list[str]
    dtype: str
    crs: str | None
    gsd_m: float | None
    labelled: bool
    polygons: int | None
    ingested_at: datetime
    checksum: str


class VersionDetail(VersionRow):
    """A dataset version with a page of its scenes."""

    scene_list: Page[SceneRow]


class LabelChange(BaseModel):
    """How the labels of a scene changed; null where it had none."""

    before: dict[str, int] | None
    after: dict[str, int] | None
    added: int
    removed: int


class Diff(BaseModel):
    """What two versions do not share, as scene ids."""

    old: str = Field(examples=["v1"])
    new: str = Field(examples=["v2"])
    added: list[str]
    removed: list[str]
    pixels_changed: list[str]
    labels_changed: list[str]
    metadata_changed: list[str]
    labels: dict[str, LabelChange]


class Quarantined(BaseModel):
    """A scene that was refused."""

    scene: str = Field(examples=["blurred"])
    reasons: list[str]
    time: str | None
    resolved_by: str | None = Field(description="Version that has accepted it since.")


class IngestForm(BaseModel):
    """How to ingest."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(
        None, min_length=1, max_length=1000, description="Folder on the server; null: the drop zone."
    )
    retry_quarantine: bool = Field(False, description="Check the quarantined scenes again instead.")
    strict: bool | None = Field(None, description="Quarantine scenes with unknown classes; null: as the project says.")
    force: bool = Field(False, description="Convert scenes again that the dataset holds.")


@router.get("/dataset-versions", summary="Dataset versions, newest first")
@threaded
def list_versions(project: Readable, page: PageQuery) -> Page[VersionRow]:
    """List the versions with their counts."""
    from satseg.datasets.repository import GitRepository

    tags = GitRepository(workspace().data).tags(project.name)[::-1]
    return page.of(tags, lambda tag: VersionRow(**_row(workspace().data, tag)))


@router.get("/dataset-versions/{version}", summary="A dataset version and its scenes")
@threaded
def show_version(project: Readable, version: Version, page: PageQuery) -> VersionDetail:
    """Show a version; `limit` and `offset` are of its scenes."""
    from satseg.datasets.listing import scene_table

    tag, scenes = scene_table(workspace(), project.name, _tag_name(version))
    row = VersionRow(**_row(workspace().data, tag))
    return VersionDetail(**row.model_dump(), scene_list=page.of(scenes, lambda scene: SceneRow(**scene)))


@router.get("/dataset-versions/{old}/diff/{new}", summary="What differs between two versions")
@threaded
def diff(project: Readable, old: Version, new: Version) -> Diff:
    """Compare scenes by checksums and labels by polygons."""
    from satseg.datasets.catalog import find_tag
    from satseg.datasets.difference import difference
    from satseg.datasets.repository import GitRepository

    first = find_tag(GitRepository(workspace().data), project.name, _tag_name(old))
    return Diff(**difference(workspace(), project.name, first.name, _tag_name(new)).plain())


@router.get("/quarantine", summary="Scenes that were refused, with the reasons")
@threaded
def quarantine(project: Readable, page: PageQuery) -> Page[Quarantined]:
    """List what could not be used, by scene."""
    from satseg.datasets.quarantine import REASONS, read_entry

    folders = sorted(path.parent for path in workspace().quarantine(project.name).glob(f"*/{REASONS}"))

    def entry(folder: Any) -> Quarantined:
        said = read_entry(folder) or {}
        return Quarantined(
            scene=folder.name,
            reasons=[str(reason) for reason in said.get("reasons", ["reasons.json cannot be read"])],
            time=said.get("time"),
            resolved_by=said.get("resolved_by"),
        )

    return page.of(folders, entry)


@router.post("/ingests", summary="Start an ingest", status_code=202, response_model=Started)
async def ingest(
    request: Request, form: IngestForm, project: Annotated[ProjectConfig, Depends(permitted(Action.INGEST))]
) -> Response:
    """Start scene_ingestion: what lies in incoming/ becomes a new dataset version."""
    return await start_run(request, dag_id(project.name, Action.INGEST), form.model_dump())


def _tag_name(version: str) -> str | None:
    return None if version == NEWEST else version


@lru_cache(maxsize=4096)
def _row(data: Any, tag: Any) -> dict[str, Any]:
    """Return what is told of a version; a tag's commit never changes, so it is read once."""
    from satseg.datasets.listing import version_row
    from satseg.datasets.repository import GitRepository

    return version_row(GitRepository(data), tag)
