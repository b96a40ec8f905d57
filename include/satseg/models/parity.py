"""How near an exported model is to the original, and how near it must be to take its place."""

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from satseg.models.engines import Engine

Format = Literal["onnx", "tflite"]
Precision = Literal["float32", "float16", "int8"]
MAX_IOU_DIFFERENCE = 0.005


class Bounds(NamedTuple):
    """The largest differences between probabilities, and part of pixels with another class, that pass."""

    largest: float
    mean: float
    flipped: float


BOUNDS: dict[Precision, Bounds] = {
    "float32": Bounds(1e-3, 1e-5, 1e-4),
    "float16": Bounds(0.1, 2e-3, 2e-3),
    "int8": Bounds(1.0, 2e-2, 2e-2),  # a single pixel may change its mind; how many do is bounded
}


class ParityReport(BaseModel):
    """An exported model measured beside the original on the test windows of its patch set."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    schema_version: Literal[1] = 1
    key: str  # hash of what went in
    format: Format
    precision: Precision
    file: str
    sha256: str
    size_bytes: int
    original_bytes: int
    patch_set: str
    windows: int
    pixels: int
    max_difference: float
    mean_difference: float
    flipped_fraction: float  # pixels whose class differs
    iou: float
    iou_original: float
    latency_ms: float  # of one window, in batches as in `satseg predict`
    latency_original_ms: float
    speedup: float  # median of the ratios of calls made in turn
    processors: int
    calibration_windows: int = 0
    float_operations: int = 0  # of an int8 model, left in float because they are sensitive
    operations: int = 0
    made_at: datetime

    @property
    def engine(self) -> Engine:
        """The engine that runs the file."""
        if self.format == "onnx":
            return "onnx"
        return "litert_int8" if self.precision == "int8" else "litert"

    @property
    def kind(self) -> str:
        """Name of the export among those of a version, such as `tflite-int8`."""
        return f"{self.format}-{self.precision}"

    @property
    def iou_difference(self) -> float:
        """IoU of the exported model minus the original's."""
        return self.iou - self.iou_original

    def failures(self) -> list[str]:
        """Say which bounds are not kept; none when the exported model may take the original's place."""
        bounds = BOUNDS[self.precision]
        measured = (
            ("IoU differs by", abs(self.iou_difference), MAX_IOU_DIFFERENCE),
            ("a probability differs by", self.max_difference, bounds.largest),
            ("probabilities differ on average by", self.mean_difference, bounds.mean),
            ("part of pixels with another class:", self.flipped_fraction, bounds.flipped),
        )
        # written so that NaN fails
        return [f"{what} {value:.2g}, allowed is {most:g}" for what, value, most in measured if not value <= most]

    @property
    def passed(self) -> bool:
        """Whether the exported model may take the original's place."""
        return not self.failures()
