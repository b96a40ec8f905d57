"""Example patches of reference and night, at the same places of their distributions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.datasets.catalog import SceneRecord
from satseg.drift.figures import thumbnail
from satseg.errors import BadDataError
from satseg.scenes.raster import open_scene

QUANTILES = (0.1, 0.35, 0.65, 0.9)


@dataclass(frozen=True)
class Example:
    """One patch to look at."""

    png: bytes
    scene: str
    row: int
    col: int
    value: float
    quantile: float


def side_by_side(
    reference: pd.DataFrame,
    night: pd.DataFrame,
    feature: str,
    patch_px: int,
    records: tuple[dict[str, SceneRecord], dict[str, SceneRecord]],
) -> tuple[list[Example], list[Example]]:
    """Return patches at the same quantiles of a feature from both sides, shown with the same brightness scale.

    Args:
        reference: Profile rows of the reference.
        night: The same of the night.
        feature: Feature whose quantiles choose the patches.
        patch_px: Side of a patch.
        records: Scenes of the reference and of the night by checksum; patches of scenes not there are left out.
    """
    chosen = [_at_quantiles(side, feature) for side in (reference, night)]
    pixels = [_read(side, patch_px, known) for side, known in zip(chosen, records, strict=True)]
    low, high = _scale(pixels[0] or pixels[1])
    return (
        _examples(chosen[0], pixels[0], feature, low, high),
        _examples(chosen[1], pixels[1], feature, low, high),
    )


def _at_quantiles(profile: pd.DataFrame, feature: str) -> pd.DataFrame:
    ordered = profile.sort_values([feature, "scene", "row", "col"], kind="stable")
    places = [round(quantile * (len(ordered) - 1)) for quantile in QUANTILES]
    return ordered.iloc[places].assign(quantile=QUANTILES)


def _read(chosen: pd.DataFrame, patch_px: int, records: dict[str, SceneRecord]) -> dict[int, NDArray[np.generic]]:
    found: dict[int, NDArray[np.generic]] = {}
    for place, patch in enumerate(chosen.to_dict("records")):
        record = records.get(patch["checksum"])
        if record is None:
            continue
        try:
            with open_scene(record.path) as scene:
                window = scene.read(int(patch["row"]), int(patch["col"]), patch_px, patch_px, pad="none")
        except BadDataError:  # a picture that cannot be drawn is no reason to withhold the report
            continue
        found[place] = window[..., _shown_bands(record.bands)]
    return found


def _shown_bands(bands: tuple[str, ...]) -> list[int]:
    if {"red", "green", "blue"} <= set(bands):
        return [bands.index(band) for band in ("red", "green", "blue")]
    return [0, 1, 2] if len(bands) >= 3 else [0]


def _scale(pixels: dict[int, NDArray[np.generic]]) -> tuple[float, float]:
    shown = list(pixels.values())
    if not shown or shown[0].dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(np.concatenate([image.ravel().astype(np.float32) for image in shown]), (1, 99))
    return float(low), float(high)


def _examples(
    chosen: pd.DataFrame, pixels: dict[int, NDArray[np.generic]], feature: str, low: float, high: float
) -> list[Example]:
    rows = chosen.to_dict("records")
    return [
        Example(
            png=thumbnail(image, low, high),
            scene=str(rows[place]["scene"]),
            row=int(rows[place]["row"]),
            col=int(rows[place]["col"]),
            value=float(rows[place][feature]),
            quantile=float(rows[place]["quantile"]),
        )
        for place, image in pixels.items()
    ]
