"""Bringing home what annotators have checked: into the drop zone, from where the usual ingest takes it."""

import json
import shutil
from pathlib import Path

from satseg.datasets.checksums import sha256_of
from satseg.errors import ConfigurationError
from satseg.selection.labelme import is_checked
from satseg.selection.record import COLLECTED_FILE, SelectionRecord, find_selection
from satseg.stages import SelectResult, SelectSpec
from satseg.storage.atomic import exclusive, replacing_file, write_json
from satseg.storage.layout import Workspace


def collect(spec: SelectSpec, workspace: Workspace) -> SelectResult:
    """Copy the checked windows of a selection, scene and labels, to the project's drop zone.

    What was copied before and has not changed since is not copied again; a killed run is simply run again.

    Raises:
        NotFoundError: there is no such selection.
        ConfigurationError: no selection was named.
    """
    if spec.name is None:
        raise ConfigurationError("Which selection? Give the name that `satseg select --budget N` printed.")
    project = spec.project.name
    record, folder = find_selection(workspace, project, spec.name), workspace.selection(project, spec.name)
    with exclusive(workspace.lock(f"select-{project}"), f"A selection of {project}"):
        done = {} if spec.force else _read_done(folder)
        checked = [window.name for window in record.windows if is_checked(folder / f"{window.name}.json")]
        sums = {name: sha256_of(folder / f"{name}.json") for name in checked}
        fresh = [name for name in checked if done.get(name) != sums[name]]
        for name in fresh:
            # the labels first: a scene that an ingest finds alone would become an unlabelled one
            for suffix in (".json", ".tif"):
                _copy(folder / f"{name}{suffix}", workspace.incoming(project) / f"{name}{suffix}")
        write_json(folder / COLLECTED_FILE, done | {name: sums[name] for name in fresh})
    return _result(record, folder, fresh, checked)


def _copy(source: Path, target: Path) -> None:
    with replacing_file(target) as temp:
        shutil.copyfile(source, temp)


def _read_done(folder: Path) -> dict[str, str]:
    path = folder / COLLECTED_FILE
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _result(record: SelectionRecord, folder: Path, fresh: list[str], checked: list[str]) -> SelectResult:
    names = [window.name for window in record.windows]
    waiting = [name for name in names if name not in checked]
    return SelectResult(
        message=f"{len(fresh)} checked windows of selection {record.name} wait for `satseg ingest` now; "
        f"{len(waiting)} of {len(names)} are not checked yet.",
        selection=record.name,
        folder=str(folder),
        model=record.model,
        dataset_version=record.dataset_version,
        scenes=list(record.scenes),
        candidates=record.candidates,
        windows=names,
        collected=fresh,
        waiting=waiting,
    )
