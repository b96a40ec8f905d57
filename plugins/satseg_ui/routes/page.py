"""The page: files of the folder `static`, as they are."""

import mimetypes
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, RedirectResponse

from satseg_ui.airflow_calls import airflow_root
from satseg_ui.problems import Refusal

router = APIRouter(prefix="/page", include_in_schema=False)
STATIC = FilePath(__file__).parents[1] / "static"
INDEX = "index.html"


@router.get("")
async def to_page() -> Response:
    """Lead to the address below which the page's files are."""
    return RedirectResponse(f"{airflow_root()}/satseg/page/")


@router.get("/{path:path}")
def page_file(path: Annotated[str, Path()]) -> Response:
    """Send a file of the page; folders have none but the first."""
    wanted = _files().get(path or INDEX)
    if wanted is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"The page has no file '{path[:100]}'.")
    return FileResponse(wanted, media_type=mimetypes.guess_type(wanted.name)[0] or "application/octet-stream")


def _files() -> dict[str, FilePath]:
    """Return what may be sent by its address: a name outside of the folder is none of them."""
    return {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
