"""What the project file declares to be done to pixel values, as steps with numbers.

Each step is a rising function of one band's values, so the percentiles of a band after a step are the step's values of
the percentiles before it: one histogram of the source serves all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from satseg.config.data import RadiometryConfig
from satseg.config.project import content_id
from satseg.errors import BadDataError
from satseg.scenes.recipe import Recipe

Values = NDArray[np.float64]
DARK_OBJECT_SOURCE = "Chavez 1988, dark object of each band from its own histogram"


class Step(Protocol):
    """One step; its numbers are one per band."""

    def apply(self, values: Values) -> Values:
        """Return the values (C, ...) after the step."""
        ...

    def record(self) -> dict[str, Any]:
        """Return the step with its numbers for the STAC Item."""
        ...


@dataclass(frozen=True)
class Calibration:
    """value × scale + offset."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    origin: str  # "metadata" or "project"

    def apply(self, values: Values) -> Values:
        """Return calibrated values."""
        return values * _per_band(self.scale, values) + _per_band(self.offset, values)

    def record(self) -> dict[str, Any]:
        """Return the step with its numbers."""
        return {"step": "calibrate", "from": self.origin, "scale": list(self.scale), "offset": list(self.offset)}


@dataclass(frozen=True)
class DarkObject:
    """value - dark + reflectance, and not below 0: dark-object subtraction after Chavez 1988, histogram method."""

    percent: float
    dark: tuple[float, ...]
    reflectance: float

    def apply(self, values: Values) -> Values:
        """Return values without the haze."""
        return np.maximum(values - (_per_band(self.dark, values) - self.reflectance), 0.0)

    def record(self) -> dict[str, Any]:
        """Return the step with its numbers."""
        return {
            "step": "dark_object",
            "method": DARK_OBJECT_SOURCE,
            "percent": self.percent,
            "dark": list(self.dark),
            "reflectance": self.reflectance,
        }


@dataclass(frozen=True)
class Stretch:
    """Linear from the percentiles `low`..`high` to the range `least`..`greatest`, cut at both ends."""

    percents: tuple[float, float]
    low: tuple[float, ...]
    high: tuple[float, ...]
    least: float
    greatest: float

    def apply(self, values: Values) -> Values:
        """Return stretched values; a band without contrast becomes `least`."""
        low, high = _per_band(self.low, values), _per_band(self.high, values)
        share = (values - low) / np.where(high > low, high - low, np.inf)
        stretched: Values = self.least + np.clip(share, 0.0, 1.0) * (self.greatest - self.least)
        return stretched

    def record(self) -> dict[str, Any]:
        """Return the step with its numbers."""
        return {
            "step": "stretch",
            "percents": list(self.percents),
            "low": list(self.low),
            "high": list(self.high),
            "range": [self.least, self.greatest],
        }


@dataclass(frozen=True)
class Radiometry:
    """The steps in their order, and how their result is stored.

    `nodata` is the stored value of pixels without data, None where a mask says it (or there are none). No data value
    of whole numbers becomes `nodata`: data is kept away from it.
    """

    steps: tuple[Step, ...]
    dtype: str
    nodata: float | None

    def apply(self, bands: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Return what is stored for a window.

        Args:
            bands: source values (C, H, W).
            valid: which of them are data (C, H, W).
        """
        values = bands.astype(np.float64)
        with np.errstate(invalid="ignore"):  # what is no data may be infinite, and turns out as nodata
            for step in self.steps:
                values = step.apply(values)
        stored = _stored(values, self.dtype, self.nodata)
        stored[~valid] = 0 if self.nodata is None else self.nodata
        return stored

    def record(self) -> list[dict[str, Any]]:
        """Return the steps for the STAC Item; the last one is the pixel type."""
        return [*(step.record() for step in self.steps), {"step": "dtype", "dtype": self.dtype}]


def prepared_mark(config: RadiometryConfig) -> str:
    """Return the value of `source.PREPARED_TAG` for a file whose values have gone through this radiometry."""
    return content_id(config)


def still_to_do(config: RadiometryConfig, recipe: Recipe) -> RadiometryConfig:
    """Return what is declared, or nothing for a scene cut out of a dataset of the same radiometry."""
    marks = {header.prepared for header in recipe.headers.values()}
    return RadiometryConfig() if marks == {prepared_mark(config)} else config


def output_dtype(config: RadiometryConfig, dtype: str) -> str:
    """Return the pixel type of a scene whose source has `dtype`."""
    if config.dtype is not None:
        return config.dtype
    if config.stretch is not None:
        return "uint8"
    return dtype if config.calibrate == "none" else "float32"


def changes_values(config: RadiometryConfig, dtype: str) -> bool:
    """Return whether a source of type `dtype` gets other values than it has."""
    steps = config.calibrate != "none" or config.dark_object is not None or config.stretch is not None
    return steps or output_dtype(config, dtype) != dtype


def wanted_percents(config: RadiometryConfig) -> tuple[float, ...]:
    """Return the percentiles of the source that `plan_radiometry` needs."""
    dark = () if config.dark_object is None else (config.dark_object.percent,)
    return dark if config.stretch is None else (*dark, config.stretch.low_percent, config.stretch.high_percent)


def plan_radiometry(
    config: RadiometryConfig, recipe: Recipe, found: Sequence[Sequence[float]], gaps: bool
) -> Radiometry:
    """Return the steps for a scene.

    Args:
        config: what the project file declares.
        recipe: the scene.
        found: for each band the percentiles `wanted_percents`, of source values.
        gaps: whether pixels without data are told by a nodata value.

    Raises:
        BadDataError: the scene's metadata holds no usable scale.
    """
    dtype = output_dtype(config, recipe.dtype)
    nodata = _nodata(dtype) if gaps or dtype == "float32" else None
    marks = np.array(found, np.float64)  # (bands, percentiles)
    steps: list[Step] = []
    if config.calibrate != "none":
        steps.append(_calibration(config, recipe))
        marks = steps[-1].apply(marks)
    if config.dark_object is not None:
        dark = tuple(marks[:, 0].tolist())
        steps.append(DarkObject(config.dark_object.percent, dark, config.dark_object.reflectance))
        marks = steps[-1].apply(marks)[:, 1:]
    if config.stretch is not None:
        percents = (config.stretch.low_percent, config.stretch.high_percent)
        low, high = (tuple(column.tolist()) for column in marks.T)
        steps.append(Stretch(percents, low, high, *_range(dtype, nodata)))
    return Radiometry(tuple(steps), dtype, nodata)


def _calibration(config: RadiometryConfig, recipe: Recipe) -> Calibration:
    count = len(recipe.bands)
    if config.calibrate == "project":
        scale, offset = (values if len(values) == count else values * count for values in (config.scale, config.offset))
        return Calibration(scale, offset, "project")
    if lacking := [str(i) for i, band in enumerate(recipe.bands, 1) if band.scale is None and band.offset is None]:
        raise BadDataError(
            f"has no scale and offset for band {', '.join(lacking)} (radiometry.calibrate: metadata): give them in its "
            "STAC Item (raster:bands), scene file or GDAL tags (gdal_edit.py -scale -offset), or set calibrate: project"
        )
    scale = tuple(1.0 if band.scale is None else float(band.scale) for band in recipe.bands)
    if bad := [value for value in scale if not value > 0]:
        raise BadDataError(f"has a scale of {bad[0]:g} in its metadata; it must be greater than 0")
    offset = tuple(0.0 if band.offset is None else float(band.offset) for band in recipe.bands)
    return Calibration(scale, offset, "metadata")


def _nodata(dtype: str) -> float:
    return {"float32": float("nan"), "int16": -32768.0}.get(dtype, 0.0)


def _limits(dtype: str, nodata: float | None) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min) + (nodata is not None), int(limits.max)  # nodata is the least number of its type


def _range(dtype: str, nodata: float | None) -> tuple[float, float]:
    """Return the range of a stretch."""
    if dtype == "float32":
        return 0.0, 1.0
    least, greatest = _limits(dtype, nodata)
    return float(max(least, 0)), float(greatest)


def _stored(values: Values, dtype: str, nodata: float | None) -> NDArray[Any]:
    if dtype == "float32":
        return values.astype(np.float32)
    least, greatest = _limits(dtype, nodata)
    return np.rint(np.clip(np.nan_to_num(values, nan=least), least, greatest)).astype(dtype)


def _per_band(numbers: Sequence[float], values: Values) -> Values:
    return np.array(numbers, np.float64).reshape(-1, *[1] * (values.ndim - 1))
