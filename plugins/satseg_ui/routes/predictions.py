"""Predictions: listed, downloaded, looked at over the pixels of their scene; started."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg.errors import NotFoundError
from satseg_ui.airflow_calls import Started, airflow_root, start_run
from satseg_ui.paging import Page, PageQuery
from satseg_ui.predictions import PredictionRow, describe, folder_of, item_of, newest_first, scene_file
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.work import in_thread, threaded

router = APIRouter(prefix="/projects/{project}/predictions", tags=["predictions"])
SCENE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
SceneId = Annotated[str, Path(pattern=SCENE_PATTERN, examples=["ggaba_a"])]
Model = Annotated[str, Path(description="As in the list: v3.", pattern=SCENE_PATTERN, examples=["v1"])]
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["polygons.geojson"])]
Layer = Literal["scene", "classes", "probability"]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG with alpha."}}
PICTURES_KEPT_S = 300


class MapClass(BaseModel):
    """A class of the map and its colour."""

    id: int
    name: str = Field(examples=["building"])
    colour: str = Field(examples=["#e69f00"])


class MapInfo(BaseModel):
    """How to look at the prediction: a pyramid of tiles in pixels, {z}, {x} and {y} to be filled in."""

    width: int
    height: int
    tile_px: int = Field(examples=[256])
    max_zoom: int = Field(description="Where a pixel of a tile is a pixel of the map.", examples=[3])
    scene_pixels: bool = Field(description="Whether the scene's own pixels are still here.")
    layers: dict[Layer, str]
    classes: list[MapClass]


class Predictions(Page[PredictionRow]):
    """A part of the list of predictions."""

    damaged: list[str] = Field(description="What is wrong with those of this part that cannot be read; left out.")


class PredictionDetail(PredictionRow):
    """A prediction and how to look at it."""

    map: MapInfo


class PredictForm(BaseModel):
    """What to predict."""

    model_config = ConfigDict(extra="forbid")

    scenes: list[Annotated[str, Field(pattern=SCENE_PATTERN)]] | None = Field(
        None, max_length=10_000, description="Scene ids; null: every scene that this model has not predicted yet."
    )
    model: str = Field("champion", min_length=1, max_length=100, description="Version, alias or run.")
    scenes_per_task: int = Field(8, ge=1, le=1000)


class Shown(NamedTuple):
    """A prediction that is looked at."""

    project: ProjectConfig
    folder: FilePath


async def _shown(project: Readable, scene: SceneId, model: Model) -> Shown:
    return Shown(project, await in_thread(folder_of, workspace(), project.name, scene, model))


Prediction = Annotated[Shown, Depends(_shown)]


@router.get("", summary="Predictions, newest first")
@threaded
def list_predictions(
    project: Readable,
    page: PageQuery,
    scene: Annotated[str | None, Query(pattern=SCENE_PATTERN)] = None,
    model: Annotated[str | None, Query(pattern=SCENE_PATTERN)] = None,
) -> Predictions:
    """List the maps there are, of all scenes and models or of one."""
    folders = newest_first(workspace(), project.name, scene, model)
    found, damaged = page.readable(folders, lambda folder: describe(folder, project.name, _base()))
    return Predictions(**found.model_dump(), damaged=damaged)


@router.get("/{scene}/{model}", summary="A prediction and how to look at it")
@threaded
def show_prediction(shown: Prediction) -> PredictionDetail:
    """Show one map: its files, and its tiles."""
    from satseg.inference.palette import class_colour
    from satseg.inference.tiles import LAYERS, TILE_PX, max_zoom

    project, folder = shown
    row = describe(folder, project.name, _base())
    place = f"{_base()}/projects/{project.name}/predictions/{row.scene}/{row.model}/tiles"
    classes = [
        MapClass(id=number, name=name, colour="#{:02x}{:02x}{:02x}".format(*class_colour(number)))
        for number, name in enumerate(project.classes, start=1)
    ]
    info = MapInfo(
        width=row.width,
        height=row.height,
        tile_px=TILE_PX,
        max_zoom=max_zoom(row.height, row.width),
        scene_pixels=scene_file(workspace(), project.name, folder) is not None,
        layers={layer: f"{place}/{layer}/{{z}}/{{x}}/{{y}}.png" for layer in LAYERS},
        classes=classes,
    )
    return PredictionDetail(**row.model_dump(), map=info)


@router.get("/{scene}/{model}/files/{name}", summary="A file of a prediction", response_class=FileResponse)
async def download(shown: Prediction, name: FileName) -> Response:
    """Send a file; Range requests are answered, so that a COG can be read in place."""
    path, media_type = await in_thread(_file, shown, name)
    folder = shown.folder
    return FileResponse(path, media_type=media_type, filename=f"{folder.parent.name}-{folder.name}-{name}")


@router.get(
    "/{scene}/{model}/tiles/{layer}/{z}/{x}/{y}.png",
    summary="A tile of a prediction or its scene",
    response_class=Response,
    responses=PICTURE,
)
@threaded
def tile(shown: Prediction, layer: Layer, z: Number, x: Number, y: Number) -> Response:
    """Draw 256 x 256 pixels; transparent outside of the scene and where it has no data."""
    from satseg.inference.tiles import tile_view

    return _picture(shown, layer, lambda height, width: tile_view(height, width, z, x, y), tile=True)


@router.get(
    "/{scene}/{model}/picture/{layer}.png",
    summary="A whole layer in one picture",
    response_class=Response,
    responses=PICTURE,
)
@threaded
def picture(shown: Prediction, layer: Layer, max_px: Annotated[int, Query(ge=16, le=2048)] = 1024) -> Response:
    """Draw a layer with its longer side at most `max_px`; all layers of a prediction have the same size."""
    from satseg.inference.tiles import whole_view

    return _picture(shown, layer, lambda height, width: whole_view(height, width, max_px))


@router.post("", summary="Predict scenes", status_code=202, response_model=Started)
async def predict(
    request: Request, form: PredictForm, project: Annotated[ProjectConfig, Depends(permitted(Action.PREDICT))]
) -> Response:
    """Start scene_inference."""
    return await start_run(request, dag_id(project.name, Action.PREDICT), form.model_dump())


def _base() -> str:
    return f"{airflow_root()}/satseg/api/v1"


def _file(shown: Shown, name: str) -> tuple[FilePath, str]:
    folder = shown.folder
    row = describe(folder, shown.project.name, _base())
    media_type = next((file.media_type for file in row.files if file.name == name), None)
    if media_type is None and name == "item.json":
        media_type = "application/geo+json"
    if media_type is None or not (folder / name).is_file():
        raise NotFoundError(
            f"The prediction has no file '{name}'. It has: {', '.join(file.name for file in row.files)}."
        )
    return folder / name, media_type


def _picture(shown: Shown, layer: Layer, view_of: Callable[[int, int], Any], tile: bool = False) -> Response:
    from satseg.inference.tiles import draw_prediction, draw_scene, png

    project, folder = shown
    view = view_of(*item_of(folder)["properties"]["proj:shape"])
    if layer == "scene":
        path = scene_file(workspace(), project.name, folder)
        if path is None:
            raise NotFoundError(
                f"The pixels of scene '{folder.parent.name}' that were predicted are not in the workspace any more."
            )
        drawn = draw_scene(path, _stretch(path, path.stat().st_mtime_ns, project.bands), view)
    else:
        drawn = draw_prediction(folder, layer, len(project.classes), view)
    headers = {"Cache-Control": f"private, max-age={PICTURES_KEPT_S}"}
    return Response(png(drawn, tile), media_type="image/png", headers=headers)


@lru_cache(maxsize=512)
def _stretch(path: FilePath, changed: int, bands: tuple[str, ...]) -> Any:
    from satseg.inference.tiles import scene_stretch

    return scene_stretch(path, bands)
