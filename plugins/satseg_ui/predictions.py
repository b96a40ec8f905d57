"""Predictions on disk: found, described, and the scene that one shows."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from satseg.errors import BadDataError, NotFoundError
from satseg.storage.layout import Workspace
from satseg_ui.remembered import remembered_by_file

ITEM_FILE = "item.json"


class File(BaseModel):
    """A file of a prediction."""

    name: str = Field(examples=["polygons.geojson"])
    title: str
    media_type: str
    bytes: int | None
    sha256: str | None
    url: str


class PredictionRow(BaseModel):
    """The map of one scene by one model."""

    scene: str = Field(examples=["ggaba_a"])
    model: str = Field(examples=["v1"])
    model_version: str | None = Field(examples=["1"])
    created: datetime
    objects: int
    area_m2: float | None
    engine: str
    dataset_version: str = Field(description="Version the model was trained on.")
    patch_set: str
    bbox: list[float] | None = Field(description="West, south, east, north in degrees.")
    width: int
    height: int
    coordinates: str = Field(description="CRS of maps and polygons, or 'pixels'.")
    files: list[File]
    preview: str | None = Field(description="Address of a small picture.")


@remembered_by_file
def _read_item(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def newest_first(space: Workspace, project: str, scene: str | None, model: str | None) -> list[Path]:
    """Return the folders of finished predictions, newest first."""
    found = space.predictions(project).glob(f"{scene or '*'}/{model or '*'}/{ITEM_FILE}")
    return [path.parent for _, path in sorted(_dated(found), reverse=True)]


def _dated(paths: Iterator[Path]) -> Iterator[tuple[int, Path]]:
    for path in paths:
        try:
            yield path.stat().st_mtime_ns, path
        except FileNotFoundError:  # made anew this moment
            continue


def folder_of(space: Workspace, project: str, scene: str, model: str) -> Path:
    """Return the folder of a finished prediction.

    Raises:
        NotFoundError: there is none.
    """
    folder = space.prediction(project, scene, model)
    if not (folder / ITEM_FILE).is_file():
        raise NotFoundError(f"Project '{project}' has no prediction of scene '{scene}' by model '{model}'.")
    return folder


def item_of(folder: Path) -> dict[str, Any]:
    """Return the STAC Item of a prediction.

    Raises:
        NotFoundError: it is gone.
        BadDataError: it is damaged.
    """
    try:
        return _read_item(folder / ITEM_FILE)
    except FileNotFoundError as error:
        raise NotFoundError(f"The prediction in {folder} has been removed.") from error
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> BadDataError:
    scene, model = folder.parent.name, folder.name
    return BadDataError(
        f"{folder / ITEM_FILE} is damaged ({type(error).__name__}: {str(error).splitlines()[0]}). "
        f"Remove the folder and map scene {scene} with model {model} again."
    )


def describe(folder: Path, project: str, base: str) -> PredictionRow:
    """Return what is told of a prediction; `base` is the address its files are below.

    Raises:
        NotFoundError: it is gone.
        BadDataError: it is damaged.
    """
    try:
        return _described(item_of(folder), folder, project, base)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error


def _described(item: dict[str, Any], folder: Path, project: str, base: str) -> PredictionRow:
    scene, model = folder.parent.name, folder.name
    said = item["properties"]
    place = f"{base}/projects/{project}/predictions/{scene}/{model}"
    files = [_file(asset, f"{place}/files") for asset in item["assets"].values()]
    height, width = said["proj:shape"]
    return PredictionRow(
        scene=scene,
        model=model,
        model_version=said.get("satseg:model_version"),
        created=said["created"],
        objects=said.get("satseg:objects", 0),
        area_m2=said.get("satseg:area_m2"),
        engine=said.get("satseg:engine", "tf"),
        dataset_version=said["satseg:dataset_version"],
        patch_set=said["satseg:patch_set"],
        bbox=item.get("bbox"),
        width=width,
        height=height,
        coordinates=said["satseg:coordinates"],
        files=files,
        preview=next((file.url for file in files if file.name == "preview.png"), None),
    )


def _file(asset: dict[str, Any], place: str) -> File:
    name = Path(asset["href"]).name
    checksum = asset.get("file:checksum")
    return File(
        name=name,
        title=asset.get("title", name),
        media_type=asset.get("type", "application/octet-stream"),
        bytes=asset.get("file:size"),
        sha256=checksum.removeprefix("1220") if checksum else None,
        url=f"{place}/{name}",
    )


def scene_file(space: Workspace, project: str, folder: Path) -> Path | None:
    """Return the raster with the very pixels that a prediction was made of; None when it is not here any more."""
    said, scene = item_of(folder)["properties"], folder.parent.name
    checksum, dataset = said["satseg:scene_checksum"], space.dataset(project)
    newest = dataset / "scenes" / f"{scene}.tif"
    view = space.dataset_views(project) / checksum[:16] / f"{scene}.tif"
    try:
        same = _read_item(dataset / "items" / f"{scene}.json")["properties"]["satseg:checksum"] == checksum
    except (OSError, ValueError, KeyError):
        same = False
    given = Path(said["satseg:scene_path"]) if said.get("satseg:scene_dataset_version") is None else None
    there = (newest if same else None, view, given)
    return next((path for path in there if path is not None and path.is_file()), None)
