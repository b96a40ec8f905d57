"""Patch sets, and where their splits lie."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg_ui.airflow_calls import Started, start_run
from satseg_ui.paging import Page, PageQuery, Wanted
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}/patch-sets", tags=["patch sets"])
PatchSetId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["35e0a5534446"])]


class PatchSetRow(BaseModel):
    """A patch set."""

    id: str = Field(examples=["35e0a5534446"])
    dataset_version: str = Field(examples=["v1"])
    created: datetime
    size_px: int = Field(examples=[256])
    windows: dict[str, int] = Field(
        description="Kept windows by split.", examples=[{"train": 80, "val": 10, "test": 12}]
    )
    positive_fractions: dict[str, float] = Field(description="Labelled part of each split.")
    scenes: int = Field(examples=[48])
    classes: list[str]
    bands: list[str]
    warnings: list[str]


class PatchSetDetail(PatchSetRow):
    """A patch set and what it was made with."""

    parameters: dict[str, Any]
    split_plan: str
    scene_ids: list[str]


class SplitWindow(BaseModel):
    """A kept window, in pixels of its scene."""

    row: int
    column: int
    size: int
    split: str = Field(examples=["train"])


class SplitScene(BaseModel):
    """The kept windows of a scene; its size is null when the dataset version is gone."""

    scene: str
    width: int | None
    height: int | None
    windows: list[SplitWindow]


class SplitMap(BaseModel):
    """Where train, val and test lie."""

    size_px: int
    scenes: list[SplitScene]
    total: int = Field(description="Scenes of the patch set.")
    limit: int
    offset: int


class PatchForm(BaseModel):
    """What to cut."""

    model_config = ConfigDict(extra="forbid")

    dataset_version: str | None = Field(
        None, pattern=r"^v?[0-9]{1,9}$", description="Null: the newest.", examples=["v1"]
    )


@router.get("", summary="Patch sets, newest first")
@threaded
def list_patch_sets(project: Readable, page: PageQuery) -> Page[PatchSetRow]:
    """List the complete patch sets."""
    from satseg.patches.patchset import list_patch_sets as complete_ones

    return page.of(complete_ones(workspace(), project.name)[::-1], lambda found: PatchSetRow(**_row(found)))


@router.get("/{patch_set}", summary="A patch set")
@threaded
def show_patch_set(project: Readable, patch_set: PatchSetId) -> PatchSetDetail:
    """Show what a patch set was made of."""
    from satseg.patches.patchset import open_patch_set

    found = open_patch_set(workspace(), project.name, patch_set).description
    return PatchSetDetail(
        **_row(found), parameters=found.parameters, split_plan=found.split_plan, scene_ids=sorted(found.scenes)
    )


@router.get("/{patch_set}/split-map", summary="Where train, val and test lie in each scene")
@threaded
def split_map(project: Readable, patch_set: PatchSetId, page: PageQuery) -> SplitMap:
    """Show the kept windows of a page of scenes; `limit` and `offset` are of scenes."""
    from satseg.patches.patchset import open_patch_set

    opened = open_patch_set(workspace(), project.name, patch_set)
    windows = _kept_windows(opened.folder)
    scenes = sorted(windows)
    sizes = _scene_sizes(project.name, opened.dataset_version)
    shown = [
        SplitScene(scene=scene, width=width, height=height, windows=windows[scene])
        for scene in scenes[page.offset : page.offset + page.limit]
        for width, height in [sizes.get(scene, (None, None))]
    ]
    return SplitMap(size_px=opened.size_px, scenes=shown, **_place(page, len(scenes)))


@router.post("", summary="Cut a dataset version into patches", status_code=202, response_model=Started)
async def patch(
    request: Request, form: PatchForm, project: Annotated[ProjectConfig, Depends(permitted(Action.PATCH))]
) -> Response:
    """Start patch_generation."""
    return await start_run(request, dag_id(project.name, Action.PATCH), form.model_dump())


def _row(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in PatchSetRow.model_fields} | {"scenes": len(found.scenes)}


def _place(page: Wanted, total: int) -> dict[str, int]:
    return {"total": total, "limit": page.limit, "offset": page.offset}


def _kept_windows(folder: Any) -> dict[str, list[SplitWindow]]:
    import pandas as pd

    from satseg.errors import BadDataError
    from satseg.patches.patchset import MANIFEST_FILE

    columns = ["scene", "row", "col", "size", "split"]
    try:
        table = pd.read_parquet(folder / MANIFEST_FILE, columns=columns, filters=[("kept", "==", True)])
    except (OSError, ValueError) as error:
        raise BadDataError(
            f"{folder / MANIFEST_FILE} cannot be read ({type(error).__name__}). Remove the folder and cut the patches "
            "again with: satseg patch"
        ) from error
    found: dict[str, list[SplitWindow]] = {}
    for scene, row, column, size, split in table.itertuples(index=False, name=None):
        found.setdefault(str(scene), []).append(SplitWindow(row=row, column=column, size=size, split=str(split)))
    return found


def _scene_sizes(project: str, version: str) -> dict[str, tuple[int, int]]:
    from satseg.datasets.listing import scene_table
    from satseg.errors import NotFoundError

    try:
        _, rows = scene_table(workspace(), project, version)
    except NotFoundError:
        return {}
    return {row["scene"]: (row["width"], row["height"]) for row in rows}
