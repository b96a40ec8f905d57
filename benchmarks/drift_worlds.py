"""Generated worlds for `benchmarks/drift.py`: towns of one kind, drawn by the generator of `satseg demo-scenes`.

    python benchmarks/drift_worlds.py --workspace DIR --worlds 200 [--first 0]

Each world has a seed of its own: 40 scenes of a reference, 45 of a quiet month, and (the first 100 worlds) 6 towns each
in another season, with a new roof material, and of another kind. Files that are there are not drawn again. Worlds that
are not drawn yet take their scenes, without replacement, from all that are.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from satseg.datasets import demo_towns
from satseg.datasets.demo_changes import Change, Look
from satseg.datasets.demo_plan import Town
from satseg.datasets.demo_render import render
from satseg.datasets.demo_towns import plan_town
from satseg.drift.features import feature_names, patch_features
from satseg.drift.profile import SCHEMA_VERSION
from satseg.storage.atomic import replacing_file

SIZE_PX, GSD_M, PATCH_PX = 256, 0.3, 64
BANDS = ("red", "green", "blue")
FEATURES = feature_names(BANDS)
FIRST_SEED = 7000
REFERENCE, QUIET, CONTENT = 40, 45, 6
CONTENT_WORLDS = 100
EXPOSURE = 0.03  # the reference's own spread: each scene is up to so much brighter or darker
INDUSTRY = ("halls", "halls", "vacant", "halls", "rows", "halls")  # blocks of a town of another kind
NEW_ROOFS = "blue metal"


@dataclass(frozen=True)
class Part:
    """Scenes `first` .. `first + count - 1` of a world, drawn in one way."""

    first: int
    count: int
    look: Look = field(default_factory=Look)
    blocks: tuple[str, ...] | None = None
    roofs: str | None = None


PARTS = {
    "reference": Part(0, REFERENCE),
    "quiet": Part(1000, QUIET),
    "season": Part(2000, CONTENT, look=Look(season="autumn")),
    "roofs": Part(3000, CONTENT, roofs=NEW_ROOFS),
    "kind": Part(4000, CONTENT, blocks=INDUSTRY),
}


def parts_of(world: int) -> tuple[str, ...]:
    """Return the parts that a world has."""
    return tuple(PARTS) if world < CONTENT_WORLDS else ("reference", "quiet")


def drawn(workspace: Path, part: str) -> list[int]:
    """Return the worlds of which a part is there."""
    return sorted(int(path.name[:4]) for path in (workspace / "worlds").glob(f"[0-9]*-{part}.npy"))


def draw(workspace: Path, world: int, part: str) -> Path:
    """Draw a part of a world unless it is there."""
    path = workspace / "worlds" / f"{world:04d}-{part}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.stack([_draw(FIRST_SEED + world, PARTS[part], k) for k in range(PARTS[part].count)])
        with replacing_file(path) as temp, temp.open("wb") as target:
            np.save(target, pixels)
    return path


def pixels(workspace: Path, world: int, part: str) -> np.ndarray:
    """Return (N, H, W, 3) uint8 scenes of a part, each exposed a little differently."""
    scenes = np.load(workspace / "worlds" / f"{world:04d}-{part}.npy")
    rng = np.random.default_rng([world, PARTS[part].first])
    return _digital(scenes * rng.uniform(1 - EXPOSURE, 1 + EXPOSURE, (len(scenes), 1, 1, 1)))


def features(workspace: Path, world: int, part: str) -> np.ndarray:
    """Return (N, P, F) features of the patches of a part's scenes, computed on first use."""
    path = workspace / "features" / f"{world:04d}-{part}-{SCHEMA_VERSION}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = described(pixels(workspace, world, part))
        with replacing_file(path) as temp, temp.open("wb") as target:
            np.save(target, found)
    return np.load(path)


def described(scenes: np.ndarray) -> np.ndarray:
    """Return (N, P, F) features of the patches of (N, H, W, 3) scenes, by rows."""
    valid, starts = np.ones((PATCH_PX, PATCH_PX), bool), range(0, SIZE_PX - PATCH_PX + 1, PATCH_PX)
    return np.stack(
        [
            [patch_features(scene[r : r + PATCH_PX, c : c + PATCH_PX], valid, BANDS) for r in starts for c in starts]
            for scene in scenes
        ]
    )


def changed(scenes: np.ndarray, change: Change, seed: int) -> np.ndarray:
    """Return scenes as another sensor or air would show them."""
    rng = np.random.default_rng(seed)
    return np.stack([_digital(change.apply(scene.astype(np.float32), 255.0, rng)) for scene in scenes])


def _digital(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _draw(seed: int, part: Part, k: int) -> np.ndarray:
    scene = part.first + k
    town = _planned(seed, scene, part.blocks)
    if part.roofs is not None:
        town.buildings = [replace(building, material=part.roofs) for building in town.buildings]
    return render(town, SIZE_PX, GSD_M, (seed, scene), part.look).pixels


def _planned(seed: int, scene: int, blocks: tuple[str, ...] | None) -> Town:
    plan: Callable[[], Town] = lambda: plan_town(seed, scene, SIZE_PX * GSD_M)  # noqa: E731
    if blocks is None:
        return plan()
    usual, demo_towns._BLOCKS = demo_towns._BLOCKS, blocks
    try:
        return plan()
    finally:
        demo_towns._BLOCKS = usual


def main() -> None:
    """Draw the worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    for world in range(given.first, given.worlds):
        for part in parts_of(world):
            draw(given.workspace, world, part)
        print(f"world {world} drawn", flush=True)


if __name__ == "__main__":
    main()
