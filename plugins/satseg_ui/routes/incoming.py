"""The drop zone: files uploaded for the next ingest."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from satseg.config.project import ProjectConfig
from satseg_ui.airflow_log import note
from satseg_ui.paging import Page, PageQuery
from satseg_ui.problems import Refusal
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, User, dag_id, permitted
from satseg_ui.uploading import (
    SUFFIXES,
    Received,
    check_announced,
    checked_name,
    most_bytes,
    receive,
    remove_abandoned,
    slot,
    waits_already,
)
from satseg_ui.work import in_thread, json_answer, threaded

router = APIRouter(prefix="/projects/{project}/incoming", tags=["datasets"])
Name = Annotated[str, Path(description="Name of the file, without folders.", examples=["east.tif"])]
Uploader = Annotated[ProjectConfig, Depends(permitted(Action.UPLOAD))]
BODY = {
    "requestBody": {
        "required": True,
        "description": "The file itself, not a form.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class WaitingFile(BaseModel):
    """A file of the drop zone."""

    name: str = Field(description="Its path below the drop zone.", examples=["east.tif"])
    bytes: int
    modified: datetime


class UploadLimits(BaseModel):
    """What may be uploaded."""

    scene_bytes: int
    label_bytes: int
    suffixes: list[str]


class Waiting(Page[WaitingFile]):
    """What waits for the next ingest."""

    limits: UploadLimits


class Kept(BaseModel):
    """An uploaded file."""

    name: str = Field(examples=["east.tif"])
    bytes: int
    sha256: str


@router.get("", summary="Files that wait for the next ingest")
@threaded
def list_incoming(project: Readable, page: PageQuery) -> Waiting:
    """List the drop zone, and what may be uploaded."""
    from satseg.datasets.walking import files_below

    folder = workspace().incoming(project.name)
    files = files_below(folder)[0] if folder.is_dir() else []
    found = page.of(files, lambda path: _waiting(path, folder))
    limits = UploadLimits(scene_bytes=most_bytes("x.tif"), label_bytes=most_bytes("x.json"), suffixes=list(SUFFIXES))
    return Waiting(**found.model_dump(), limits=limits)


@router.put(
    "/{name:path}", summary="Upload a scene or label file", status_code=201, response_model=Kept, openapi_extra=BODY
)
async def upload(
    request: Request,
    name: Name,
    project: Uploader,
    user: User,
    replace: Annotated[bool, Query(description="Replace a file of this name.")] = False,
) -> Response:
    """Take one file into the drop zone; it appears there whole or not at all. POST …/ingests then ingests it."""
    target = workspace().incoming(project.name) / checked_name(name)
    announced = request.headers.get("content-length")
    await in_thread(check_announced, name, announced, target.parent)
    if target.is_dir() or (target.exists() and not replace):
        raise waits_already(name)
    with slot():
        await in_thread(remove_abandoned, target.parent)
        received = await receive(request.stream(), target, announced, replace)
    await in_thread(_noted, user, project.name, "satseg_upload", received)
    return json_answer(Kept(name=received.name, bytes=received.size, sha256=received.sha256), HTTPStatus.CREATED)


@router.delete("/{name:path}", summary="Take a file out of the drop zone", status_code=204, response_class=Response)
@threaded
def remove(name: Name, project: Uploader, user: User) -> Response:
    """Remove a file that was uploaded and not ingested yet."""
    target = workspace().incoming(project.name) / checked_name(name)
    try:
        size = target.lstat().st_size
        target.unlink()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no file '{name}' in the drop zone.") from error
    note(user, dag_id(project.name, Action.UPLOAD), "satseg_remove_upload", name=name, bytes=size)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _noted(user: User, project: str, event: str, received: Received) -> None:
    note(
        user,
        dag_id(project, Action.UPLOAD),
        event,
        name=received.name,
        bytes=received.size,
        sha256=received.sha256,
    )


def _waiting(path: FilePath, folder: FilePath) -> WaitingFile:
    status = path.lstat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return WaitingFile(name=str(path.relative_to(folder)), bytes=status.st_size, modified=modified)
