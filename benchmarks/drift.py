"""Drift detection: how often it alarms without reason, what it finds, how soon, and what it costs.

    python benchmarks/drift.py --workspace DIR [--part false-alarms|power|kampala|cost|embeddings] [--worlds 200]

Beside the usual recipe: a Kolmogorov-Smirnov test per feature on patches, alarm when any of six has p < 0.05. Worlds
are drawn by `drift_worlds.py` and kept in DIR, results too: a run that was interrupted goes on. Bars:

- at most 15 of 200 worlds alarm in a quiet night (drift.quiet_nights: 1), and at most 15 of 200 raise a confirmed alarm
  (2 of 3 nights) in a quiet month (drift.quiet_nights: 30), drift.false_alarm_rate being 0.05 in both;
- at least 95 % of the worlds alarm in one night of four scenes that show a gain of ±10 % beyond the reference's own
  spread, haze, blur of 1.5 px, half the resolution, another season, more sensor noise, a new roof material, a town of
  another kind;
- Kampala: reported against the recipe, no bar;
- embeddings: prediction and profile with embeddings together take at most 1.15 times the prediction alone (processor
  time, reading and blending included, writing the maps not; an untrained network, whose weights change no time).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import drift_worlds as worlds
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import ks_2samp

from satseg.config.drift import ConfirmConfig, DriftConfig
from satseg.datasets.demo_changes import Change
from satseg.drift.decision import Decision, decide
from satseg.drift.features import patch_features
from satseg.drift.sequential import night_level
from satseg.storage.atomic import write_json

ROOT = Path(__file__).resolve().parents[1]
MONTH = DriftConfig()
NIGHT = DriftConfig(quiet_nights=1, confirm=ConfirmConfig(nights=1, of=1))
SIX = ("mean_red", "mean_green", "mean_blue", "std_green", "gradient_mean", "excess_green")
NIGHT_SCENES = 4
PARTS = ["false-alarms", "power", "kampala", "cost", "embeddings"]
MONTH_SCENES = (1, 2)  # new scenes of the nights of a month, in turn
PANEL: dict[str, Change | str] = {
    "gain +10 %": Change(gain=1.1),
    "gain -10 %": Change(gain=0.9),
    "haze 0.2": Change(haze=0.2),
    "blur 1.5 px": Change(blur_px=1.5),
    "half resolution": "half",
    "sensor noise 6 DN": Change(noise_dn=6),
    "season (autumn)": "season",
    "new roof material": "roofs",
    "town of another kind": "kind",
}
CURVE: dict[str, Change | str] = {
    "gain +2 %": Change(gain=1.02),
    "gain +5 %": Change(gain=1.05),
    "haze 0.05": Change(haze=0.05),
    "haze 0.1": Change(haze=0.1),
    "blur 0.5 px": Change(blur_px=0.5),
    "blur 0.8 px": Change(blur_px=0.8),
    "sensor noise 1 DN": Change(noise_dn=1),
    "sensor noise 2 DN": Change(noise_dn=2),
}
POOL = 60  # worlds whose scenes are dealt to the worlds that are not drawn
MOST_ALARMS, LEAST_POWER = 0.075, 0.95


class World:
    """Scenes of one world; those of worlds that are not drawn come from the pool of all that are."""

    def __init__(self, workspace: Path, number: int) -> None:
        self.workspace, self.number = workspace, number
        self.own = number in worlds.drawn(workspace, "quiet")

    def features(self, part: str) -> np.ndarray:
        """Return (N, P, F)."""
        if self.own:
            return worlds.features(self.workspace, self.number, part)
        there = worlds.drawn(self.workspace, "quiet")[:POOL]
        size = worlds.REFERENCE + worlds.QUIET
        rng = np.random.default_rng([self.number, 1])
        chosen = rng.choice(len(there) * size, size, replace=False)
        rows = [self._of_pool(there, int(place), size) for place in chosen]
        return np.stack(rows[: worlds.REFERENCE] if part == "reference" else rows[worlds.REFERENCE :])

    def _of_pool(self, there: list[int], place: int, size: int) -> np.ndarray:
        world, scene = there[place // size], place % size
        if scene < worlds.REFERENCE:
            return worlds.features(self.workspace, world, "reference")[scene]
        return worlds.features(self.workspace, world, "quiet")[scene - worlds.REFERENCE]

    def drifted(self, change: Change | str, scenes: int) -> np.ndarray:
        """Return (N, P, F) features of that many new scenes under a change; the world's scenes are its own."""
        if change in worlds.PARTS:
            return worlds.features(self.workspace, self.number, str(change))[:scenes]
        pixels = worlds.pixels(self.workspace, self.number, "quiet")[:scenes]
        if isinstance(change, Change):
            return worlds.described(worlds.changed(pixels, change, self.number))
        side = worlds.SIZE_PX
        halved = [cv2.resize(one, (side // 2, side // 2), interpolation=cv2.INTER_AREA) for one in pixels]
        return worlds.described(np.stack([cv2.resize(one, (side, side)) for one in halved]))


def frame(features: np.ndarray, name: str, names: tuple[str, ...] = worlds.FEATURES) -> pd.DataFrame:
    """Return (N, P, F) features as a profile."""
    scenes, patches, count = features.shape
    table = pd.DataFrame(features.reshape(-1, count), columns=list(names))
    side = round(patches**0.5)
    blocks = [f"{place // side // 2}_{place % side // 2}" for place in range(patches)]
    return table.assign(scene=np.repeat([f"{name}{k}" for k in range(scenes)], patches), block=blocks * scenes)


def ours(reference: np.ndarray, night: np.ndarray, config: DriftConfig, seed: int, *earlier: np.ndarray) -> Decision:
    """Return the decision of one night."""
    before = frame(np.concatenate(earlier), "e") if earlier else None
    level = night_level(config.false_alarm_rate, config.quiet_nights, config.confirm.nights, config.confirm.of)
    random = np.random.default_rng(seed)
    return decide(frame(reference, "r"), frame(night, "n"), worlds.FEATURES, config, level, random, before)


def recipe(reference: np.ndarray, night: np.ndarray) -> bool:
    """Return whether the usual recipe alarms."""
    sides = [side.reshape(-1, side.shape[-1]) for side in (reference, night)]
    columns = [worlds.FEATURES.index(name) for name in SIX]
    return any(ks_2samp(sides[0][:, column], sides[1][:, column]).pvalue < 0.05 for column in columns)


def confirmed(alarms: list[bool], rule: ConfirmConfig) -> int | None:
    """Return the first night (from 1) on which k of the latest n nights alarmed, itself among them."""
    for last, alarm in enumerate(alarms):
        if alarm and sum(alarms[max(0, last + 1 - rule.of) : last + 1]) >= rule.nights:
            return last + 1
    return None


def month(world: World) -> dict:
    """Return what happens in a quiet month of a world."""
    reference, quiet = world.features("reference"), world.features("quiet")
    alone = ours(reference, quiet[:NIGHT_SCENES], NIGHT, world.number)
    alarms, by_recipe, start = [], [], 0
    for night in range(30):
        end = start + MONTH_SCENES[night % len(MONTH_SCENES)]
        earlier = [quiet[:start]] if start else []
        alarms.append(ours(reference, quiet[start:end], MONTH, 100 * world.number + night, *earlier).drifted)
        by_recipe.append(recipe(reference, quiet[start:end]))
        start = end
    return {
        "own": world.own,
        "night": alone.drifted,
        "recipe_night": recipe(reference, quiet[:NIGHT_SCENES]),
        "nights": sum(alarms),
        "month": confirmed(alarms, MONTH.confirm) is not None,
        "recipe_nights": sum(by_recipe),
        "recipe_month": confirmed(by_recipe, MONTH.confirm) is not None,
    }


def found(world: World) -> dict:
    """Return which changes one night shows, and after how many nights they are confirmed."""
    reference = world.features("reference")
    result: dict = {"power": {}, "recipe": {}, "scenes": {}, "delay": {}, "kinds": {}}
    for name, change in {**PANEL, **CURVE}.items():
        night = world.drifted(change, NIGHT_SCENES)
        decision = ours(reference, night, MONTH, world.number)
        result["power"][name] = decision.drifted
        result["recipe"][name] = recipe(reference, night)
        if name in PANEL:
            result["scenes"][name] = [
                ours(reference, night[:k], MONTH, world.number).drifted for k in range(1, NIGHT_SCENES)
            ]
            result["delay"][name] = delay(reference, world.drifted(change, worlds.CONTENT), world.number)
    return result


def delay(reference: np.ndarray, scenes: np.ndarray, seed: int) -> int | None:
    """Return after how many nights of two scenes each drift is confirmed; None: not within them."""
    alarms = [
        ours(reference, scenes[k : k + 2], MONTH, seed, *([scenes[:k]] if k else [])).drifted
        for k in range(0, len(scenes), 2)
    ]
    return confirmed(alarms, MONTH.confirm)


def kept(workspace: Path, part: str, numbers: list[int], work: Callable[[World], dict]) -> Iterator[dict]:
    """Yield the result of each world, from the file where it is there."""
    for number in numbers:
        path = workspace / "results" / part / f"{number:04d}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, work(World(workspace, number)))
        yield json.loads(path.read_text())


def false_alarms(workspace: Path, count: int, table: Table) -> bool:
    """Add the rows about quiet nights; returns whether the bars are met."""
    results = list(kept(workspace, "quiet", list(range(count)), month))
    own = sum(one["own"] for one in results)
    most = int(MOST_ALARMS * count)
    met = True
    for what, key, bar in (
        ("one quiet night, rate set per night", "night", most),
        ("30 quiet nights, any confirmed alarm", "month", most),
    ):
        alarms, by_recipe = (sum(one[name] for one in results) for name in (key, f"recipe_{key}"))
        met &= alarms <= bar
        cells = (f"{alarms} of {count}", f"{by_recipe} of {count}", f"≤ {bar}", "yes" if alarms <= bar else "NO")
        table.add_row("false alarms", what, *cells)
    nights = sum(one["nights"] for one in results) / (30 * count)
    by_recipe = sum(one["recipe_nights"] for one in results) / (30 * count)
    level = night_level(0.05, 30, 2, 3)
    table.add_row("", f"nights of these months (level {level:.3f})", f"{nights:.1%}", f"{by_recipe:.1%}", "", "")
    table.add_row("", "worlds of scenes of their own; others draw from the pool", f"{own} of {count}", "", "", "")
    return met


def power(workspace: Path, count: int, table: Table) -> bool:
    """Add the rows about drifted nights; returns whether the bars are met."""
    numbers = worlds.drawn(workspace, "kind")[:count]
    results = list(kept(workspace, "power", numbers, found))
    met = True
    for name in (*PANEL, *CURVE):
        share = float(np.mean([one["power"][name] for one in results]))
        by_recipe = float(np.mean([one["recipe"][name] for one in results]))
        ok = share >= LEAST_POWER
        bar, answer = (f"≥ {LEAST_POWER:.0%}", "yes" if ok else "NO") if name in PANEL else ("", "")
        told = ""
        if name in PANEL:
            met &= ok
            nights = [one["delay"][name] or np.inf for one in results]
            fewer = [f"{np.mean([one['scenes'][name][k] for one in results]):.0%}" for k in range(NIGHT_SCENES - 1)]
            told = f"; with 1, 2, 3 scenes {', '.join(fewer)}; confirmed in night {np.median(nights):g}"
            told += f" ({np.mean(np.isfinite(nights)):.0%} within 3)"
        part = "power" if name in PANEL else "curve"
        table.add_row(part, f"{name}{told}", f"{share:.0%}", f"{by_recipe:.0%}", bar, answer)
    table.add_row("", "worlds", str(len(results)), "", "", "")
    return met


def kampala(shared: Path, table: Table) -> bool:
    """Add the rows about blocks of one real scene; no bar."""
    import rasterio

    px, patches = 64, 4  # blocks of 4 x 4 patches of 64 px
    names = worlds.FEATURES
    rng = np.random.default_rng(0)
    for path in sorted((shared / "kampala").glob("*.tif")):
        with rasterio.open(path) as dataset:
            scene = dataset.read([1, 2, 3]).transpose(1, 2, 0)
        grid = _grid(scene, px)
        rows, cols = grid.shape[:2]
        for what, nights in (("blocks at random", _scattered), ("one corner", _corners)):
            alarms, by_recipe, decided = [], [], 0
            for night in nights(rows, cols, rng):
                decision = _kampala_night(grid, night, names)
                decided += decision.permuted is not None
                alarms.append(decision.drifted)
                by_recipe.append(recipe(grid[~night][None], grid[night][None]))
            told = f"{path.stem}, {what}: nights of other blocks of the same scene ({decided} of {len(alarms)} decided)"
            table.add_row("Kampala", told, f"{np.mean(alarms):.0%}", f"{np.mean(by_recipe):.0%}", "", "")
        pairs = [
            recipe(grid[r : r + patches, c : c + patches].reshape(1, -1, len(names)), beside.reshape(1, -1, len(names)))
            for r in range(0, rows - patches + 1, patches)
            for c in range(0, cols - 2 * patches + 1, patches)
            if (beside := grid[r : r + patches, c + patches : c + 2 * patches]).size
        ]
        table.add_row("", f"{path.stem}: recipe on pairs of neighbouring blocks", "", f"{np.mean(pairs):.0%}", "", "")
    return True


def _grid(scene: np.ndarray, px: int) -> np.ndarray:
    """Return (rows, cols, F) features of the patches of a scene (H, W, 3)."""
    valid, (height, width) = np.ones((px, px), bool), scene.shape[:2]
    return np.stack(
        [
            [patch_features(scene[r : r + px, c : c + px], valid, worlds.BANDS) for c in range(0, width - px + 1, px)]
            for r in range(0, height - px + 1, px)
        ]
    )


def _scattered(rows: int, cols: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield 40 nights: a third of the blocks of 2 x 2 patches each."""
    high, wide = -(-rows // 2), -(-cols // 2)
    for _ in range(40):
        chosen = np.zeros(high * wide, bool)
        chosen[rng.choice(chosen.size, max(1, chosen.size // 3), replace=False)] = True
        yield chosen.reshape(high, wide).repeat(2, 0).repeat(2, 1)[:rows, :cols]


def _corners(rows: int, cols: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield connected nights: each window of half the height and half the width, in steps of two patches."""
    for top in range(0, rows - rows // 2 + 1, 2):
        for left in range(0, cols - cols // 2 + 1, 2):
            night = np.zeros((rows, cols), bool)
            night[top : top + rows // 2, left : left + cols // 2] = True
            yield night


def _kampala_night(grid: np.ndarray, night: np.ndarray, names: tuple[str, ...]) -> Decision:
    row, col = np.indices(night.shape)
    table = pd.DataFrame(grid.reshape(-1, len(names)), columns=list(names))
    table["block"] = [f"{r // 2}_{c // 2}" for r, c in zip(row.ravel(), col.ravel(), strict=True)]
    chosen = night.ravel()
    old, new = table[~chosen].assign(scene="r"), table[chosen].assign(scene="n")
    return decide(old, new, names, NIGHT, NIGHT.false_alarm_rate, np.random.default_rng(0))


def _quiet_world(workspace: Path) -> np.ndarray:
    worlds.draw(workspace, 0, "quiet")
    return worlds.pixels(workspace, 0, "quiet")


def cost(workspace: Path, table: Table) -> bool:
    """Add the rows about the time of a profile beside that of reading the pixels; no bar."""
    import tempfile

    import rasterio

    towns = _quiet_world(workspace)[:36]
    pixels = np.concatenate([np.concatenate(list(row), axis=1) for row in towns.reshape(6, 6, *towns.shape[1:])])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        profile = {"driver": "GTiff", "height": len(pixels), "width": len(pixels), "count": 3, "dtype": "uint8"}
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2}
        with rasterio.open(path, "w", **profile) as out:
            out.write(pixels.transpose(2, 0, 1))
        reading, profiling = [], []
        for _ in range(5):
            start = time.process_time()
            with rasterio.open(path) as dataset:
                scene = dataset.read().transpose(1, 2, 0)
            reading.append(time.process_time() - start)
            start = time.process_time()
            _grid(scene, 128)
            profiling.append(time.process_time() - start)
    ratio = np.median(profiling) / np.median(reading)
    table.add_row("cost", "radiometric features, times reading the pixels (deflate)", f"{ratio:.1f}", "", "", "")
    return True


def embeddings(workspace: Path, table: Table, side: int = 4) -> bool:
    """Add the row about the time of a profile with embeddings beside that of the prediction it rides on."""
    import tempfile

    from satseg.models.keras import embedding

    embedding.Encoder = cache(embedding.Encoder)  # both sides load their network once, which is not measured
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        _write_towns(path, _quiet_world(workspace), side)
        model = _untrained(Path(folder) / "model")
        tasks = {"predicting": lambda: _predicted(path, model), "profiling": lambda: _profiled(path, model)}
        taken: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(4):  # the first round loads and compiles
            for name, task in tasks.items():
                start = time.process_time()
                task()
                taken[name].append(time.process_time() - start)
    predicting, profiling = (float(np.median(times[1:])) for times in taken.values())
    ratio = (predicting + profiling) / predicting
    met = ratio <= 1.15
    what = "prediction and profile with embeddings, times the prediction"
    table.add_row("embeddings", what, f"{ratio:.2f}", "", "≤ 1.15", "yes" if met else "NO")
    return met


def _write_towns(path: Path, towns: np.ndarray, side: int) -> None:
    import rasterio

    rows = towns[: side * side].reshape(side, side, *towns.shape[1:])
    pixels = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    about = {"driver": "GTiff", "height": len(pixels), "width": len(pixels), "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", tiled=True, compress="deflate", predictor=2, **about) as out:
        out.write(pixels.transpose(2, 0, 1))


@cache
def _untrained(folder: Path) -> Path:
    from satseg.config.training import TrainingConfig
    from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, ModelDescription
    from satseg.models.keras.architectures import build_network

    folder.mkdir()
    config, mean, std = TrainingConfig(), (100.0,) * 3, (50.0,) * 3
    build_network(config, 3, 1, mean, std).save(folder / MODEL_FILE)
    about = {"project": "towns", "architecture": config.architecture, "backbone": config.backbone, "dtype": "uint8"}
    about |= {"bands": worlds.BANDS, "classes": ("building",), "patch_px": 256, "gsd_m": worlds.GSD_M}
    about |= {"mean": mean, "std": std, "dataset_version": "v1", "patch_set": "none"}
    (folder / DESCRIPTION_FILE).write_text(ModelDescription.model_validate(about).model_dump_json())
    return folder


@cache
def _loaded(model: Path):
    from satseg.models.keras.load import load_segmenter

    return load_segmenter(model)


def _predicted(path: Path, model: Path) -> int:
    from satseg.config.operation import InferenceConfig
    from satseg.inference.blend import blend
    from satseg.inference.sources import SceneInput, plan_reading
    from satseg.inference.windows import plan_windows, read_strips

    segmenter, config = _loaded(model), InferenceConfig()
    plan = plan_reading(SceneInput("scene", path, "", "", None), segmenter.description, "v1")
    windows = plan_windows(plan.grid.height, plan.grid.width, config.window_px, config.overlap)
    with plan.open() as rows:
        strips = read_strips(rows, windows)
        return sum(len(part.valid) for part in blend(strips, windows, segmenter.predict, 1, config.batch_size))


def _profiled(path: Path, model: Path) -> int:
    from datetime import UTC, datetime

    from satseg.datasets.catalog import SceneRecord
    from satseg.drift.embeddings import with_embeddings
    from satseg.drift.profile import ProfileKind, profile_scene

    empty = dict.fromkeys(SceneRecord.__dataclass_fields__)
    about = {"id": "scene", "path": path, "checksum": "c", "ingested_at": datetime.now(UTC), "item": {}}
    record = SceneRecord(**(empty | about))
    profile = profile_scene(record, ProfileKind(MONTH.patch_px, MONTH.block_patches, worlds.BANDS), 0.5)
    return len(with_embeddings(profile, {"c": record}, model, MONTH.patch_px))


def main() -> int:
    """Run the parts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--power-worlds", type=int, default=100)
    given = parser.parse_args()
    parts = given.part or PARTS
    shared = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
    table = Table("part", "what", "satseg", "usual recipe", "bar", "met", title="Drift detection at a rate of 5 %")
    met = True
    if "false-alarms" in parts:
        met &= false_alarms(given.workspace, given.worlds, table)
    if "power" in parts:
        met &= power(given.workspace, given.power_worlds, table)
    if "kampala" in parts:
        if shared.is_dir():
            met &= kampala(shared, table)
        else:
            print(f"{shared}: no such folder, so Kampala is left out.", file=sys.stderr)
    if "cost" in parts:
        met &= cost(given.workspace, table)
    if "embeddings" in parts:
        met &= embeddings(given.workspace, table)
    Console(width=150).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
