"""The champion's held-out ground shown to it again under simulated changes; made once per champion and kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig, content_id
from satseg.drift.estimate import BINS, Trial, View, joined, viewed
from satseg.drift.features import patch_features
from satseg.drift.reference import Champion
from satseg.drift.simulated import Simulated, full_scale_of, picture_statistics, simulated_changes
from satseg.errors import NotFoundError
from satseg.evaluation.leaks import trained_ground
from satseg.evaluation.windows import HeldOut, ShardReader, evenly, held_out
from satseg.models.interface import Segmenter, class_ids
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.progress import progress_bar, say
from satseg.storage.atomic import exclusive, replacing_file
from satseg.storage.layout import Workspace
from satseg.tracking.models import model_folder, resolve_model
from satseg.tracking.runs import get_run

SCHEMA = 1  # raise it when the same champion gives other trials
WINDOWS = 64
_BATCH = 8
_ENOUGH_SCENES = 6
_LEAST_UNITS = 3
_MULTIPLE = 32


def trials_of(workspace: Workspace, project: ProjectConfig, champion: Champion) -> list[Trial]:
    """Return the trials of a champion, made with TensorFlow on first use; nothing where there is too little ground.

    Units are the scenes of the test windows, or their blocks where there are fewer than six scenes.

    Raises:
        BadDataError: model or patch set cannot be read.
    """
    if not champion.patch_set or not champion.run_id:
        return []
    key = content_id(SCHEMA, BINS, champion.run_id, champion.patch_set, project.inference.threshold, project.drift.seed)
    path = workspace.drift_trials(project.name, key)
    with exclusive(workspace.lock(f"drift-trials-{project.name}"), f"The trials of {champion.label}"):
        if (known := _read(path)) is not None:
            return known
        try:
            patch_set = open_patch_set(workspace, project.name, champion.patch_set)
        except NotFoundError:
            return []
        windows = _windows(workspace, project, champion, patch_set)
        if len(_units(windows)) < _LEAST_UNITS or patch_set.size_px % _MULTIPLE:
            return []
        from satseg.models.keras.load import load_segmenter

        say(f"Showing {champion.label} {len(windows)} of its test windows under simulated changes; this is done once.")
        segmenter = load_segmenter(model_folder(workspace, resolve_model(workspace, project.name, champion.run_id)))
        trials = make_trials(windows, patch_set, segmenter, project)
        _write(path, trials)
        return trials


def make_trials(
    windows: Sequence[HeldOut], patch_set: PatchSet, segmenter: Segmenter, project: ProjectConfig
) -> list[Trial]:
    """Show windows to a model under each simulated change and view what it makes of them."""
    reader, units = ShardReader(patch_set), _units(windows)
    # windows are held in memory: there are few
    images = np.stack([reader.image(window) for window in windows])
    masks = np.stack([reader.mask(window) for window in windows])
    scale = full_scale_of(patch_set.dtype, float(images.max()))
    changes = simulated_changes(project.drift.seed)
    trials = []
    with progress_bar("simulated changes, windows", len(changes) * len(windows)) as advance:
        for change in changes:
            changed = np.stack([_changed(change, image, scale, number) for number, image in enumerate(images)])
            views = []
            for start in range(0, len(windows), _BATCH):
                part = slice(start, start + _BATCH)
                probabilities = segmenter.predict(changed[part])
                both = zip(changed[part], probabilities, masks[part], strict=True)
                views += [_view(*one, project) for one in both]
                advance(len(probabilities))
            trials.append(Trial(change.kind, tuple(joined([views[place] for place in unit]) for unit in units)))
    return trials


def picture_of(pixels: NDArray[Any], valid: NDArray[np.bool_], bands: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the picture statistics of one patch (H, W, C) with at least one valid pixel."""
    return picture_statistics(patch_features(pixels, valid, bands)[None], bands)


def _windows(workspace: Workspace, project: ProjectConfig, champion: Champion, patch_set: PatchSet) -> list[HeldOut]:
    """Return test windows on ground that the champion was not trained on, spread evenly."""
    every = held_out(patch_set)
    assert champion.run_id is not None
    trained = trained_ground(workspace, project.name, get_run(workspace, champion.run_id), patch_set, every)
    return evenly([one for one in every if one.number not in trained.windows and one.nodata_fraction == 0], WINDOWS)


def _units(windows: Sequence[HeldOut]) -> list[list[int]]:
    """Return places of windows grouped by scene, or by block where there are few scenes."""
    scenes = {window.scene for window in windows}
    groups: dict[str, list[int]] = {}
    for place, window in enumerate(windows):
        groups.setdefault(window.scene if len(scenes) >= _ENOUGH_SCENES else window.block, []).append(place)
    return list(groups.values())


def _changed(change: Simulated, image: NDArray[Any], scale: float, seed: int) -> NDArray[Any]:
    return change.apply(image, scale, seed) if change.parts else image


def _view(
    image: NDArray[Any], probabilities: NDArray[np.float32], mask: NDArray[np.uint8], project: ProjectConfig
) -> View:
    classes = len(project.classes)
    ids = class_ids(probabilities, project.inference.threshold).ravel()
    of_classes = probabilities[..., -classes:].reshape(-1, classes)
    px = min(project.drift.patch_px, *image.shape[:2])  # the size on which a night's features are computed too
    corners = [(row, col) for row in range(0, len(image) - px + 1, px) for col in range(0, image.shape[1] - px + 1, px)]
    whole = np.ones((px, px), bool)
    pictures = [picture_of(image[row : row + px, col : col + px], whole, project.bands) for row, col in corners]
    known = mask.ravel() <= classes  # others are to be ignored
    return viewed(of_classes[known], ids[known], mask.ravel()[known], np.mean(pictures, axis=0))


def _write(path: Path, trials: Sequence[Trial]) -> None:
    pixels, labelled, picture = (
        np.array([[getattr(view, name) for view in trial.views] for trial in trials])
        for name in ("pixels", "labelled", "picture")
    )
    kinds = np.array(json.dumps([trial.kind for trial in trials]))
    with replacing_file(path) as temp, temp.open("wb") as file:
        np.savez_compressed(file, pixels=pixels, labelled=labelled, picture=picture, kinds=kinds)


def _read(path: Path) -> list[Trial] | None:
    """Return stored trials; None where there are none or the file is damaged: they are made again."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            kinds: list[str] = json.loads(str(stored["kinds"]))
            arrays = [stored[name] for name in ("pixels", "labelled", "picture")]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return [
        Trial(kind, tuple(View(*view) for view in zip(*(array[place] for array in arrays), strict=True)))
        for place, kind in enumerate(kinds)
    ]
