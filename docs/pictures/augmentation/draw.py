"""Draws the pictures of docs/augmentation.md from a made-up town: what a training window may look like.

    python docs/pictures/augmentation/draw.py

Each picture shows the window as it is and three times changed, everything at its default strength. The outline is the
mask's, which moves with the image; what the loss ignores is crossed out.
"""

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from satseg.config.training import Augmentation, AugmentationStrength, TrainingConfig
from satseg.datasets.demo_scenes import SceneSet, draw_scene
from satseg.models.interface import IGNORED
from satseg.models.keras.augmentation import augmentation
from satseg.models.keras.chances import chances
from satseg.models.keras.photometry import PixelRange

HERE = Path(__file__).parent
SIZE, GAP, COLOURS, SHOWN, TRIED = 128, 4, 64, 3, 60
OUTLINE, CROSSED_OUT = (255, 225, 0), (255, 255, 255)


def window() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a part of a made-up town with roofs, image (H, W, 3) and mask (H, W)."""
    _, picture = draw_scene(SceneSet(count=1, size_px=512, seed=4, gsd_m=0.25), 0)
    row, col = 192, 160
    return (
        picture.pixels[row : row + SIZE, col : col + SIZE].astype(np.float32),
        picture.roofs[row : row + SIZE, col : col + SIZE].copy(),
    )


def drawn(image: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image as uint8 with the outline of the mask on it."""
    result = image.round().clip(0, 255).astype(np.uint8)
    roof, ignored = mask == 1, mask == IGNORED
    inner = roof.copy()
    inner[1:-1, 1:-1] = roof[1:-1, 1:-1] & roof[:-2, 1:-1] & roof[2:, 1:-1] & roof[1:-1, :-2] & roof[1:-1, 2:]
    result[roof & ~inner] = OUTLINE
    rows, cols = np.indices(mask.shape)
    result[ignored & ((rows + cols) % 8 == 0)] = CROSSED_OUT
    return result


def variants(
    names: tuple[Augmentation, ...], image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> list[NDArray[np.uint8]]:
    """Return the window changed in ways that differ much from it and from each other."""
    config = TrainingConfig(augmentations=names, strength=AugmentationStrength(chance=1.0))
    mean = image.mean(axis=(0, 1))
    change = augmentation(config, PixelRange.of("uint8", mean, image.std(axis=(0, 1))), tuple(mean.tolist()))
    found = []
    for number in range(TRIED):
        chance = chances(np.array([0, number]), 3)
        new_image, new_mask = change.window(image, mask, chance)
        new_image = np.asarray(change.batch(np.asarray(new_image)[None], chance[None])[0])
        found.append((new_image, np.asarray(new_mask)))
    chosen = [(image, mask)]
    for _ in range(SHOWN):
        chosen.append(max(found, key=lambda pair: min(np.abs(pair[0] - old[0]).mean() for old in chosen)))
    return [drawn(*pair) for pair in chosen]


def main() -> None:
    """Write one PNG per change, and one of all together."""
    image, mask = window()
    pictures = {name: (name,) for name in get_args(Augmentation)} | {"all": get_args(Augmentation)}
    for name, names in pictures.items():
        gap = np.full((SIZE, GAP, 3), 255, np.uint8)
        strip = np.concatenate([part for one in variants(names, image, mask) for part in (one, gap)][:-1], axis=1)
        path = HERE / f"{name}.png"
        Image.fromarray(strip).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
