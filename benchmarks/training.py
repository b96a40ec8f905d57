"""The input pipeline beside training on data in memory, beside PNG files, and beside a plain `model.fit`.

    python benchmarks/training.py [--scenes DIR] [--rounds N] [--workspace DIR]

Windows come from real imagery (`$SHARED_DATA`/kampala, default ../shared/data; made-up towns where it is missing), cut
as the buildings project cuts them. Bars:

- steps with the real pipeline, default augmentation and all augmentation on: ≥ 97% of the rate on one batch in memory;
- the pipeline alone, default augmentation: ≥ 2× the windows per second of tf.data that decodes PNG files and changes
  them in the same way.

For information: all augmentation alone, where both spend nearly all their time on the same changes, and a plain
`model.fit` on a NumPy generator of PNG files, which is what most repositories do.

Contestants take turns within each round, in changing order; ratios are medians over the rounds, because the machine may
be shared. Processor time (of all threads) stands beside the time on the clock: it shows what a pipeline costs also when
other jobs take a part of the processors.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from satseg.config.project import ProjectConfig, load_project
from satseg.config.training import Augmentation, TrainingConfig
from satseg.datasets.demo_scenes import SceneSet, write_scenes
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.stages import IngestSpec, PatchSpec
from satseg.storage.layout import Workspace

ROOT = Path(__file__).resolve().parents[1]
STEPS, SETTLING = 4, 3  # steps of a turn; the first ones find batches prefetched in the pause and are not counted
BATCHES = 24  # of a turn of the pipeline alone
ENDLESS = 100_000
RATE = 1e-3
Clock = tuple[float, float]  # seconds on the wall and of the processors
Turn = Callable[[], Clock]
Bars = dict[str, float]
SHARE, TIMES = 0.97, 2.0


def prepare(scenes: Path, workspace: Workspace) -> tuple[ProjectConfig, PatchSet]:
    """Ingest the scenes and cut them."""
    from satseg.datasets.ingest import run as ingest
    from satseg.patches.generate import run as patch

    project = load_project("buildings", ROOT / "include" / "projects")
    if not scenes.is_dir():
        print(f"{scenes}: no such folder; made-up towns are used.", file=sys.stderr)
        scenes = workspace.root / "towns"
        write_scenes(scenes, SceneSet(count=4))
    ingest(IngestSpec(project=project, source=scenes), workspace)
    patch(PatchSpec(project=project), workspace)
    return project, open_patch_set(workspace, project.name)


def write_pngs(patch_set: PatchSet, folder: Path) -> list[tuple[str, str]]:
    """Write the train windows as PNG files, each as often listed as it is drawn."""
    folder.mkdir(parents=True)
    files = []
    for number, row in patch_set.windows("train").iterrows():
        image, mask = folder / f"{number}.png", folder / f"{number}-mask.png"
        cv2.imwrite(str(image), np.array(patch_set.images(row["shard"])[row["index"]])[..., ::-1])
        cv2.imwrite(str(mask), np.array(patch_set.masks(row["shard"])[row["index"]]))
        files += [(str(image), str(mask))] * int(row["draw_weight"])
    return files


def png_dataset(files: list[tuple[str, str]], patch_set: PatchSet, config: TrainingConfig) -> Any:
    """Return an endless tf.data of PNG files with satseg's augmentation: only the source of the windows differs."""
    from satseg.models.keras.augmentation import augmentation
    from satseg.models.keras.chances import chances
    from satseg.models.keras.photometry import PixelRange
    from satseg.models.keras.runtime import plain_graph, tf

    mean, std = patch_set.statistics.mean, patch_set.statistics.std
    change = augmentation(config, PixelRange.of(patch_set.dtype, mean, std), mean)
    size = patch_set.size_px

    def read(pair: Any, number: Any) -> tuple[Any, Any, Any]:
        image = tf.ensure_shape(tf.io.decode_png(tf.io.read_file(pair[0]), 3), (size, size, 3))
        mask = tf.ensure_shape(tf.io.decode_png(tf.io.read_file(pair[1]), 1), (size, size, 1))
        chance = chances(tf.stack([tf.constant(0, tf.int64), number]), 3)
        return (*change.window(tf.cast(image, tf.float32), mask[..., 0], chance), chance)

    def change_batch(images: Any, masks: Any, chance: Any) -> tuple[Any, Any]:
        return change.batch(images, chance), masks

    pairs = tf.data.Dataset.from_tensor_slices(np.array(files)).shuffle(len(files), seed=0).repeat()
    numbered = tf.data.Dataset.zip((pairs, tf.data.Dataset.counter()))
    windows = numbered.map(plain_graph(read), num_parallel_calls=tf.data.AUTOTUNE)
    return windows.batch(config.batch_size).map(plain_graph(change_batch)).prefetch(2)


def png_generator(files: list[tuple[str, str]], config: TrainingConfig) -> Iterator[tuple[Any, Any]]:
    """Yield batches as most repositories make them: OpenCV and NumPy, one window after the other."""
    rng = np.random.default_rng(0)
    while True:
        images, masks = [], []
        for place in rng.integers(0, len(files), config.batch_size):
            image = cv2.imread(files[place][0])[..., ::-1].astype(np.float32)
            mask = cv2.imread(files[place][1], cv2.IMREAD_GRAYSCALE)
            turns, flip = rng.integers(4), rng.random() < 0.5
            image, mask = np.rot90(image, turns), np.rot90(mask, turns)
            image, mask = (image[:, ::-1], mask[:, ::-1]) if flip else (image, mask)
            factor, offset = 1 + config.contrast * rng.uniform(-1, 1), 255 * config.brightness * rng.uniform(-1, 1)
            images.append((image.mean() + (image - image.mean()) * factor + offset).clip(0, 255))
            masks.append(mask)
        yield np.stack(images).astype(np.float32), np.stack(masks)


def network(config: TrainingConfig, patch_set: PatchSet) -> Any:
    """Build the network of the training."""
    from satseg.models.keras.architectures import build_network
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(0)
    return build_network(config, patch_set.channels, 1, patch_set.statistics.mean, patch_set.statistics.std)


def clock() -> Clock:
    """Return both times."""
    return time.perf_counter(), time.process_time()


def since(start: Clock, steps: int) -> Clock:
    """Return both times of one of so many steps."""
    wall, processors = clock()
    return (wall - start[0]) / steps, (processors - start[1]) / steps


def turn_of(step: Callable[[], Any], steps: int) -> Turn:
    """Return a turn of so many steps; the first ones do not count."""

    def turn() -> Clock:
        for _ in range(SETTLING):
            step()
        start = clock()
        for _ in range(steps):
            step()
        return since(start, steps)

    return turn


def training_turns(config: TrainingConfig, patch_set: PatchSet) -> tuple[Turn, Turn]:
    """Return two turns, on one batch in memory and with the real pipeline."""
    from satseg.models.keras.learner import KerasLearner

    learner = KerasLearner(network(config, patch_set), patch_set, config)
    batches = learner.batches(1)
    kept = next(batches)
    return turn_of(lambda: learner.step(kept, RATE), STEPS), turn_of(lambda: learner.step(next(batches), RATE), STEPS)


def fit_turn(config: TrainingConfig, patch_set: PatchSet, files: list[tuple[str, str]]) -> Turn:
    """Return a turn of `model.fit` on the generator."""
    from satseg.models.keras.losses import loss_function
    from satseg.models.keras.runtime import keras

    model, loss = network(config, patch_set), loss_function(config, None)
    model.compile(keras.optimizers.legacy.Adam(RATE), lambda truth, found: loss(truth[..., 0], found))
    ends: list[Clock] = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(clock()))
    generator = ((images, masks[..., None]) for images, masks in png_generator(files, config))

    def turn() -> Clock:
        ends.clear()
        model.fit(generator, steps_per_epoch=SETTLING + STEPS, epochs=1, verbose=0, callbacks=[watch])
        (first_wall, first_processors), (wall, processors) = ends[SETTLING - 1], ends[-1]
        return (wall - first_wall) / STEPS, (processors - first_processors) / STEPS

    return turn


class Standing(NamedTuple):
    """A contestant's seconds, and how much faster than the first contestant it is, by the wall and the processors."""

    seconds: float
    faster: float
    cheaper: float


def take_turns(turns: dict[str, Turn], rounds: int) -> dict[str, Standing]:
    """Let all take turns; the first round only warms up."""
    taken: dict[str, list[Clock]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in list(turns)[:: 1 if number % 2 else -1]:
            taken[name].append(turns[name]())
        print(f"round {number} of {rounds}: {', '.join(turns)}", file=sys.stderr, flush=True)
    times = {name: np.array(values[1:]) for name, values in taken.items()}
    first = next(iter(times.values()))
    return {
        name: Standing(float(np.median(values[:, 0])), *map(float, np.median(first / values, axis=0)))
        for name, values in times.items()
    }


def add_rows(table: Table, what: str, unit: tuple[int, str], standings: dict[str, Standing], bars: Bars) -> bool:
    """Add a row per contestant; returns whether the bars are met."""
    met = True
    for contestant, standing in standings.items():
        least = bars.get(contestant)
        reached = least is None or standing.faster >= least
        rate = unit[0] / standing.seconds
        met = met and reached
        table.add_row(
            what,
            contestant,
            f"{rate:.{2 if rate < 10 else 0}f} {unit[1]}",
            f"{standing.faster:.3f}×",
            f"{standing.cheaper:.3f}×",
            "" if least is None else f"≥ {least:g}×",
            "" if least is None else "yes" if reached else "NO",
        )
    return met


def measure_training(project: ProjectConfig, patch_set: PatchSet, files: list[Any], rounds: int, table: Table) -> bool:
    """Compare step rates; returns whether the bars are met."""
    met = True
    for name, names in {"default": project.training.augmentations, "all": get_args(Augmentation)}.items():
        config = project.training.model_copy(update={"steps_per_epoch": ENDLESS, "augmentations": names})
        in_memory, with_pipeline = training_turns(config, patch_set)
        turns = {"one batch in memory": in_memory, "real pipeline": with_pipeline}
        if name == "default":
            turns["model.fit, PNG generator"] = fit_turn(config, patch_set, files)
        what, bars = f"training, {name} augmentation", {"real pipeline": SHARE}
        met = add_rows(table, what, (1, "steps/s"), take_turns(turns, rounds), bars) and met
    return met


def measure_alone(project: ProjectConfig, patch_set: PatchSet, files: list[Any], rounds: int, table: Table) -> bool:
    """Compare pipelines without a training; returns whether the bar is met."""
    from satseg.models.keras.input_pipeline import WindowReader, training_batches

    met = True
    for name, names in {"default": project.training.augmentations, "all": get_args(Augmentation)}.items():
        config = project.training.model_copy(update={"augmentations": names})
        contestants = {"tf.data, PNG files": iter(png_dataset(files, patch_set, config))}
        for source, cache_mib in {"shards": 0, "memory": config.cache_mib}.items():
            reader = WindowReader(patch_set, patch_set.windows("train"), cache_mib)
            contestants[f"satseg, {source}"] = iter(training_batches(reader, config, 0, ENDLESS))
        if name == "default":
            contestants["NumPy generator, PNG files"] = png_generator(files, config)
        turns = {contestant: turn_of(partial(next, batches), BATCHES) for contestant, batches in contestants.items()}
        what, bars = f"pipeline alone, {name} augmentation", {"satseg, memory": TIMES} if name == "default" else {}
        met = add_rows(table, what, (config.batch_size, "windows/s"), take_turns(turns, rounds), bars) and met
    return met


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--scenes", type=Path, default=shared / "kampala", help="folder of labelled scenes")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--workspace", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--only", choices=("training", "alone"))
    given = parser.parse_args()
    table = Table("what", "contestant", "rate", "ratio", "by processor time", "bar", "met", title="Input pipeline")
    with tempfile.TemporaryDirectory(prefix="satseg-training-") as temporary:
        workspace = Workspace((given.workspace or Path(temporary)) / "workspace")
        project, patch_set = prepare(given.scenes, workspace)
        files = write_pngs(patch_set, Path(temporary) / "png")
        met = True
        if given.only != "training":
            met = measure_alone(project, patch_set, files, given.rounds, table)
        if given.only != "alone":
            met = measure_training(project, patch_set, files, given.rounds, table) and met
        training = project.training
        table.caption = (
            f"{training.architecture} on {training.backbone}, batch {training.batch_size}, "
            f"{len(patch_set.windows('train'))} windows of {patch_set.size_px} px"
        )
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
