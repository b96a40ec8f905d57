"""The stage `select`: the windows worth labelling, with what the champion draws there; and bringing them home."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from satseg.config.project import ProjectConfig, content_id
from satseg.datasets.catalog import DatasetVersion, SceneRecord, open_version
from satseg.errors import ConfigurationError, NotFoundError
from satseg.inference.chosen_model import ChosenModel, choose_model
from satseg.inference.sources import ReadPlan, SceneInput, plan_reading, resolve_scenes
from satseg.models.interface import EmbeddingSegmenter
from satseg.progress import progress_bar
from satseg.selection.candidates import Candidate, Frame, Place, gather, look
from satseg.selection.collect import collect
from satseg.selection.diversity import choose
from satseg.selection.labelme import window_name, write_window
from satseg.selection.record import SelectedWindow, SelectionRecord, read_selection, selections, write_selection
from satseg.stages import SelectResult, SelectSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory
from satseg.storage.layout import Workspace

SCHEMA = 1  # raise it when the same input gives another selection


class _Asked(NamedTuple):
    """What a selection is made of."""

    name: str
    dataset: DatasetVersion
    records: list[SceneRecord]
    labelled: list[str]  # scenes asked for that need no annotator
    model: ChosenModel


def run(spec: SelectSpec, workspace: Workspace) -> SelectResult:
    """Select windows of unlabelled scenes for the annotators, or collect those they have checked.

    A selection that is there is returned as it is; windows of other selections are not selected again.

    Raises:
        NotFoundError: no dataset, no such scene, model or selection.
        ConfigurationError: neither a budget nor a selection to collect.
    """
    if spec.step == "collect":
        return collect(spec, workspace)
    if spec.budget is None:
        raise ConfigurationError("How many windows? Give --budget N, for example `satseg select --budget 20`.")
    asked = _asked(spec, workspace)
    folder = workspace.selection(spec.project.name, asked.name)
    with exclusive(workspace.lock(f"select-{spec.project.name}"), f"A selection of {spec.project.name}"):
        remove_stale_temps(folder.parent)
        record = None if spec.force else read_selection(folder)
        if record is None and asked.records:
            record = _select(spec, workspace, asked, folder)
    return _result(spec.project, record, folder, asked)


def _asked(spec: SelectSpec, workspace: Workspace) -> _Asked:
    project = spec.project
    dataset = open_version(workspace, project.name)
    known = {record.id: record for record in dataset.scenes}
    wanted = list(dict.fromkeys(spec.scenes)) if spec.scenes is not None else sorted(known)
    if missing := [scene for scene in wanted if scene not in known]:
        raise NotFoundError(f"Scene {', '.join(missing)} is not in {project.name} {dataset.name}.")
    records = [known[scene] for scene in wanted if not known[scene].labelled]
    labelled = [scene for scene in wanted if known[scene].labelled] if spec.scenes is not None else []
    model = choose_model(workspace, project.name, spec.model)
    settings = project.selection.model_dump(mode="json") | {"window_px": Frame.of(project).window_px}
    key = content_id(SCHEMA, model.run_id, sorted(record.checksum for record in records), settings, spec.budget)
    return _Asked(spec.name or key, dataset, records, labelled, model)


def _select(spec: SelectSpec, workspace: Workspace, asked: _Asked, folder: Path) -> SelectionRecord:
    project, model = spec.project, asked.model
    segmenter = embedding_segmenter(model)
    inputs = resolve_scenes([record.id for record in asked.records], project.name, workspace)
    scenes = [(scene, plan_reading(scene, model.description, model.label)) for scene in inputs]
    before = [one for one in selections(workspace, project.name) if one.name != asked.name]
    left_out = {(window.checksum, window.row, window.col) for one in before for window in one.windows}
    pool = gather(scenes, project, segmenter, left_out)
    chosen = choose_windows(pool.candidates(), spec.budget or 0, project)
    with replacing_directory(folder) as temp:
        windows = export(temp, chosen, scenes, project, segmenter)
        record = SelectionRecord(
            name=asked.name,
            project=project.name,
            model=model.label,
            run_id=model.run_id,
            dataset_version=asked.dataset.name,
            created=datetime.now(UTC),
            budget=spec.budget or 0,
            scenes=tuple(scene.id for scene, _ in scenes),
            candidates=pool.offered,
            windows=tuple(windows),
        )
        write_selection(temp, record)
    return record


def embedding_segmenter(model: ChosenModel) -> EmbeddingSegmenter:
    """Load a model with its encoder's view; needs TensorFlow."""
    from satseg.models.keras.embedding import KerasEmbeddingSegmenter

    return KerasEmbeddingSegmenter(model.folder)


def choose_windows(candidates: list[Candidate], budget: int, project: ProjectConfig) -> list[Candidate]:
    """Return the candidates that are worth a budget of windows, the most wanted first."""
    if not candidates:
        return []
    embeddings = np.stack([candidate.embedding for candidate in candidates])
    doubts = np.array([candidate.uncertainty for candidate in candidates])
    config = project.selection
    return [candidates[place] for place in choose(embeddings, doubts, budget, config.diversity, config.seed)]


def export(
    folder: Path,
    chosen: list[Candidate],
    scenes: list[tuple[SceneInput, ReadPlan]],
    project: ProjectConfig,
    segmenter: EmbeddingSegmenter,
) -> list[SelectedWindow]:
    """Write the files of chosen windows into a folder and return their entries, in the order chosen."""
    doubts = {candidate.place: candidate.uncertainty for candidate in chosen}
    entries: dict[Place, SelectedWindow] = {}
    with progress_bar("windows for the annotators", len(chosen)) as advance:
        for scene, plan in scenes:
            places = [place for place in doubts if place.scene == scene.id]
            for seen in look(plan, places, Frame.of(project), segmenter, project.inference.batch_size):
                polygons = write_window(folder, seen, scene, plan, project, segmenter.description)
                entries[seen.place] = SelectedWindow(
                    name=window_name(seen.place),
                    checksum=scene.checksum,
                    uncertainty=round(doubts[seen.place], 6),
                    polygons=polygons,
                    **seen.place._asdict(),
                )
                advance()
    return [entries[place] for place in doubts]


def _result(project: ProjectConfig, record: SelectionRecord | None, folder: Path, asked: _Asked) -> SelectResult:
    warnings = [f"{scene} has labels already and was left out." for scene in asked.labelled]
    about: dict[str, Any] = {"selection": asked.name, "model": asked.model.label, "warnings": warnings}
    about["dataset_version"] = asked.dataset.name
    if record is None:
        return SelectResult(message=f"{project.name} has no unlabelled scene to select windows from.", **about)
    few = "" if len(record.windows) == record.budget else f" ({record.budget} were asked for)"
    return SelectResult(
        message=f"{len(record.windows)} of {record.candidates} windows{few} for the annotators in {folder}.",
        folder=str(folder),
        scenes=list(record.scenes),
        candidates=record.candidates,
        windows=[window.name for window in record.windows],
        waiting=[window.name for window in record.windows],
        **about,
    )
