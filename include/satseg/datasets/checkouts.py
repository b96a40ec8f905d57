"""A dataset version laid out as a folder to look into or to give away."""

import json
import os
import shutil
from pathlib import Path

from satseg.datasets.catalog import DatasetVersion, open_version
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError
from satseg.progress import progress_bar
from satseg.storage.atomic import replacing_directory, write_json
from satseg.storage.layout import Workspace

_CHUNK = 16 * 2**20


def checkout(
    workspace: Workspace, project: str, version: str | None, out: Path | None, *, link: bool = False
) -> tuple[DatasetVersion, Path]:
    """Lay a version out as a folder of its own (collection.json, items/, scenes/, annotations/).

    The data repository itself stays at the newest version, where other stages read it. The folder keeps its content
    whatever later versions change.

    Args:
        workspace: where the dataset is.
        project: name of the project.
        version: None = newest.
        out: target folder, which must not exist; default: views/<project>/<version>/, which is replaced.
        link: hard links instead of copies: they cost no space, but a program that writes into one in place changes
            the dataset's own file.

    Raises:
        NotFoundError: there is no such version.
        ConfigurationError: `out` exists, or lies on another file system than the dataset and links are asked for.
    """
    opened = open_version(workspace, project, version)
    target = workspace.dataset_views(project) / opened.name if out is None else out
    if out is not None and os.path.lexists(out):
        raise ConfigurationError(f"{out} exists. Give a folder that does not, or remove it.")
    collection = GitRepository(workspace.data).run("show", f"{opened.commit}:{project}/collection.json")
    with replacing_directory(target) as temp:
        for name in ("items", "scenes", "annotations"):
            (temp / name).mkdir()
        write_json(temp / "collection.json", json.loads(collection))
        for record in opened.scenes:
            write_json(temp / "items" / f"{record.id}.json", record.item)
        _bring(_files(opened, temp), link)
    return opened, target


def _files(opened: DatasetVersion, folder: Path) -> list[tuple[Path, Path]]:
    scenes = [(record.path, folder / "scenes" / f"{record.id}.tif") for record in opened.scenes]
    tables = [
        (record.annotations, folder / "annotations" / f"{record.id}.geojson")
        for record in opened.scenes
        if record.annotations is not None
    ]
    return [*scenes, *tables]


def _bring(files: list[tuple[Path, Path]], link: bool) -> None:
    total = sum(source.stat().st_size for source, _ in files) / 2**20
    with progress_bar("Copying (MiB)", total) as advance:
        for source, target in files:
            if not link:
                with source.open("rb") as origin, target.open("wb") as copy:
                    while chunk := origin.read(_CHUNK):
                        copy.write(chunk)
                        advance(len(chunk) / 2**20)
                shutil.copymode(source, target)
                continue
            try:
                os.link(source, target)
            except OSError as error:
                raise ConfigurationError(
                    f"{target.parent.parent.parent} lies on another file system than the dataset, where links cannot "
                    "reach. Leave --link out."
                ) from error
