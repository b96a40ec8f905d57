"""`satseg patch --preview`: the pictures of a patch set, beside it and in MLflow."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from satseg.datasets.catalog import open_version
from satseg.errors import NotFoundError
from satseg.patches.patchset import PatchSet
from satseg.patches.sheet import draw_contact_sheet, draw_split_maps
from satseg.progress import say
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_file, write_json
from satseg.storage.layout import Workspace

FOLDER, SHEET, MAPS, DONE = "preview", "contact-sheet.png", "splits.png", "preview.json"


class Preview(BaseModel):
    """Where the pictures are; `url` only where MLflow is a server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pictures: tuple[str, ...]
    run_id: str
    url: str | None


def make_preview(workspace: Workspace, patch_set: PatchSet, force: bool = False) -> Preview:
    """Draw a patch set and log the pictures to an MLflow run of its own; what is done is not done again.

    Raises:
        NotFoundError: the dataset version is gone.
        TemporaryError: MLflow does not answer.
    """
    folder = patch_set.folder / FOLDER
    with exclusive(workspace.lock(f"patch-preview-{patch_set.id}"), f"The preview of patch set {patch_set.id}"):
        remove_stale_temps(folder)
        if not force and (earlier := _earlier(workspace, folder)) is not None:
            return earlier
        say(f"drawing patch set {patch_set.id} ...")
        version = open_version(workspace, patch_set.project, patch_set.dataset_version)
        records = [record for record in version.scenes if record.id in patch_set.description.scenes]
        with replacing_file(folder / SHEET) as temp:
            draw_contact_sheet(patch_set, temp)
        with replacing_file(folder / MAPS) as temp:
            draw_split_maps(patch_set, records, temp)
        run_id = _log(workspace, patch_set, [folder / SHEET, folder / MAPS])
        preview = Preview(
            pictures=(str(folder / SHEET), str(folder / MAPS)), run_id=run_id, url=_url(workspace, run_id)
        )
        write_json(folder / DONE, preview.model_dump(mode="json"))
    return preview


def _earlier(workspace: Workspace, folder: Path) -> Preview | None:
    from satseg.tracking.runs import get_run

    try:
        found = Preview.model_validate(json.loads((folder / DONE).read_text(encoding="utf-8")))
        get_run(workspace, found.run_id)
    except (OSError, ValueError, NotFoundError):
        return None
    there = all((folder / name).is_file() for name in (SHEET, MAPS))
    return found.model_copy(update={"url": _url(workspace, found.run_id)}) if there else None


def _log(workspace: Workspace, patch_set: PatchSet, pictures: list[Path]) -> str:
    from satseg.tracking.runs import find_runs, log_to_run, tracked_run

    # not the tag by which lineage finds the trainings on a patch set
    tags = {"satseg.kind": "patches", "satseg.previewed_patch_set": patch_set.id}
    metrics = {f"windows_{split}": float(count) for split, count in patch_set.description.windows.items()}
    files = dict.fromkeys(pictures, "")
    known = find_runs(workspace, patch_set.project, tags)
    if known:
        log_to_run(workspace, known[0].id, metrics=metrics, files=files)
        return known[0].id
    with tracked_run(
        workspace,
        patch_set.project,
        name=f"patches {patch_set.id}",
        tags={**tags, "satseg.dataset_version": patch_set.dataset_version},
        params=patch_set.description.parameters,
    ) as run:
        run.log_metrics(metrics, step=0)
        for path in pictures:
            run.log_file(path)
        return run.id


def _url(workspace: Workspace, run_id: str) -> str | None:
    from satseg.tracking.runs import get_run, tracking_uri

    server = tracking_uri(workspace)
    if not server.startswith("http"):
        return None
    experiment = get_run(workspace, run_id).artifact_uri.rstrip("/").split("/")[-3]  # …/<experiment>/<run>/artifacts
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}/artifacts"
