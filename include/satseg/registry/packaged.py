"""Whether the packaged model works where it is served and is the one that was evaluated; how fast, how large.

A score says nothing about the files that production will load.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.config.operation import PromotionConfig
from satseg.config.project import content_id
from satseg.errors import BadDataError, NotFoundError, TemporaryError
from satseg.evaluation.evaluate import load, read_description
from satseg.models.interface import MODEL_FILE, ModelDescription
from satseg.patches.patchset import open_patch_set
from satseg.progress import say
from satseg.stages import Gate
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, model_folder
from satseg.tracking.probe import probe_packaged, serving_python

SCHEMA = 1
NOISE_WINDOWS, REAL_WINDOWS = 2, 4
TOLERANCE = 1e-4  # of probabilities; another order of summation makes some 1e-6
TRIED_FILE = "packaged.json"


class Tried(BaseModel):
    """What became of a packaged model in the serving environment; kept, because trying it costs half a minute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    windows: int
    difference: float
    load_s: float
    latency_s: float
    memory_mib: float
    python: str


def packaged_gates(workspace: Workspace, project_name: str, ref: ModelRef, rules: PromotionConfig) -> list[Gate]:
    """Try the packaged model, and hold speed and memory against the project's bounds.

    Whatever is wrong with the model is evidence, not an error.

    Raises:
        TemporaryError: the process was told to stop, or MLflow does not answer.
    """
    try:
        tried = _tried(workspace, project_name, ref, rules)
    except TemporaryError:  # that says nothing about the model
        raise
    except Exception as error:  # noqa: BLE001 - any failure is exactly what this gate looks for
        wrong = str(error) if isinstance(error, BadDataError) else f"{type(error).__name__}: {error}"
        return [Gate(name="loads_and_predicts", passed=False, value=None, bound=None, evidence=wrong)]
    works = Gate(
        name="loads_and_predicts",
        passed=True,
        value=tried.difference,
        bound=TOLERANCE,
        evidence=f"{ref.label} loads in a clean process of Python {tried.python} in {tried.load_s:.1f} s and gives the "
        f"evaluated model's probabilities on {tried.windows} windows within {tried.difference:.1e}",
    )
    return [
        works,
        _bounded("latency_s", tried.latency_s, rules.max_latency_s, "s for one window, in the median"),
        _bounded("memory_mib", tried.memory_mib, rules.max_memory_mib, "MiB of memory at most while it serves"),
    ]


def _bounded(name: str, value: float, bound: float | None, words: str) -> Gate:
    said = f"must be at most {bound:g}" if bound is not None else "no bound is set"
    return Gate(
        name=name,
        passed=bound is None or value <= bound,
        value=value,
        bound=bound,
        evidence=f"{value:.3g} {words}; {said} (promotion.max_{name})",
    )


def _tried(workspace: Workspace, project_name: str, ref: ModelRef, rules: PromotionConfig) -> Tried:
    folder = model_folder(workspace, ref)
    key, kept = _key(folder), workspace.evaluation(project_name, ref.run_id) / TRIED_FILE
    earlier = _kept(kept, key)
    if earlier is not None and all(gate.passed for gate in _bounds_of(earlier, rules)):
        return earlier
    images = windows_for(workspace, project_name, read_description(workspace, ref))
    say(f"trying the packaged model of {ref.label} in the serving environment ...")
    probe = probe_packaged(folder.parent, images)  # before this process takes a GPU's memory for itself
    segmenter = load(workspace, ref)
    tried = Tried(
        key=key,
        windows=len(images),
        difference=compared(probe.probabilities, segmenter.predict(images), segmenter.description),
        load_s=probe.load_s,
        latency_s=probe.latency_s,
        memory_mib=probe.memory_mib,
        python=probe.python,
    )
    write_json(kept, tried.model_dump(mode="json"))
    return tried


def _bounds_of(tried: Tried, rules: PromotionConfig) -> list[Gate]:
    return [
        _bounded("latency_s", tried.latency_s, rules.max_latency_s, ""),
        _bounded("memory_mib", tried.memory_mib, rules.max_memory_mib, ""),
    ]


def compared(packaged: NDArray[np.float32], evaluated: NDArray[np.float32], description: ModelDescription) -> float:
    """Return the largest difference of the probabilities (N, H, W, K) of the packaged and the evaluated model.

    Raises:
        BadDataError: they are no probabilities of the right shape, or differ.
    """
    expected = (*evaluated.shape[:3], description.channels)
    if packaged.shape != expected:
        raise BadDataError(f"predictions have shape {packaged.shape} instead of {expected}")
    if not np.isfinite(packaged).all():
        raise BadDataError("predictions are NaN or infinite")
    low, high = float(packaged.min()), float(packaged.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise BadDataError(f"predictions lie in {low:.3g}..{high:.3g} instead of 0..1")
    difference = float(np.abs(packaged - evaluated).max())
    if not difference <= TOLERANCE:
        raise BadDataError(
            f"the packaged model's probabilities differ by {difference:.2g} from the evaluated one's (at most "
            f"{TOLERANCE:g} is rounding): what would be served is not what was measured"
        )
    return difference


def windows_for(workspace: Workspace, project_name: str, description: ModelDescription) -> NDArray[np.generic]:
    """Return raw windows (N, H, W, C) to try a model with: seeded noise, and some of its patch set where that is."""
    noise = noise_windows(description)
    try:
        patch_set = open_patch_set(workspace, project_name, description.patch_set)
    except NotFoundError:
        return noise
    rows = patch_set.windows("test").head(REAL_WINDOWS)
    real = [patch_set.images(shard)[index] for shard, index in zip(rows["shard"], rows["index"], strict=True)]
    fitting = [window for window in real if window.shape == noise.shape[1:] and window.dtype == noise.dtype]
    return np.concatenate([noise, np.stack(fitting)]) if fitting else noise


def noise_windows(description: ModelDescription) -> NDArray[np.generic]:
    """Return seeded noise (2, H, W, C) in the model's dtype with the mean and spread of its training data."""
    side = -(-description.patch_px // 32) * 32
    shape = (NOISE_WINDOWS, side, side, len(description.bands))
    values = np.random.default_rng(0).normal(description.mean, description.std, shape)
    dtype = np.dtype(description.dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = values.clip(limits.min, limits.max)
    return values.astype(dtype)


def _kept(path: Path, key: str) -> Tried | None:
    try:
        tried = Tried.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return tried if tried.key == key else None


def _key(folder: Path) -> str:
    """Return what the outcome depends on: the model's files and the serving environment."""
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes() + (folder.parent / "MLmodel").read_bytes()).hexdigest()
    python = Path(serving_python())
    # installing or upgrading a package changes this folder's time
    packages = sorted(str(path.stat().st_mtime_ns) for path in python.parent.parent.glob("lib/python*/site-packages"))
    return content_id("packaged", SCHEMA, digest, str(python), packages)
