"""Prediction, explanation and export."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from satseg.stages.base import Result, Spec


class PredictSpec(Spec):
    """Predict whole scenes."""

    scenes: list[str] = Field(min_length=1, description="Scene ids of the dataset, or raster files.")
    out: Path | None = Field(None, description="Default: the workspace's predictions folder.")
    model: str = "champion"
    step: Literal["plan", "all"] = "all"
    part: str | None = Field(
        None,
        pattern=r"^[1-9]\d*/[1-9]\d*$",
        description="Only predict this share of each scene's rows, '2/3'; a run without it joins them.",
    )
    force: bool = False


class Prediction(BaseModel):
    """Files of one predicted scene."""

    scene: str
    probability: str
    classes: str
    polygons: str
    preview: str
    item: str
    objects: int
    area_m2: float | None
    polygon_files: dict[str, str] = Field({}, description="The polygons by format; `polygons` is one of them.")


class PredictResult(Result):
    """All predicted scenes; after 'plan' how large ones are shared, after 'part' nothing yet."""

    model_version: str | None
    run_id: str
    predictions: list[Prediction]
    engine: str = Field("tf", description="What ran the model.")
    scenes: list[str] = Field([], description="Scenes asked for.")
    parts: list[list[str]] = Field([], description="Scene and share ('1/3') of each part of a large scene (plan).")


class ExplainSpec(Spec):
    """Show where a model looks and where it is unsure."""

    scene: str = Field(description="Scene id of the dataset, or a raster file.")
    window: tuple[int, int, int] | None = Field(
        None, description="First row, first column and side in pixels; default: the whole scene."
    )
    class_name: str | None = Field(None, description="The class that is explained; default: the first.")
    model: str = "champion"
    stride: Literal[2, 4, 8, 16, 32] = Field(32, description="Pixels per step of the feature maps that are weighed.")
    test_time: Literal["flips", "turns", "all"] = Field("all", description="Views whose disagreement is measured.")
    out: Path | None = Field(None, description="Folder; default: in the workspace.")
    force: bool = False


class ExplainResult(Result):
    """Files of an explanation, and its numbers."""

    scene: str
    model: str
    class_name: str
    raster: str = Field(description="GeoTIFF with the bands of `bands`.")
    picture: str
    bands: list[str]
    class_fraction: float = Field(description="Part of the ground that is mapped as the class.")
    mean_entropy: float = Field(description="Mean uncertainty in 0..1, that of the mean over the views.")
    mean_disagreement: float = Field(description="The part of it that comes from the views' disagreement.")
    changed: bool = True


class ExportSpec(Spec):
    """Make a file of a model version for another engine."""

    version: str = Field(description="Version number or alias.")
    format: Literal["onnx", "tflite"]
    precision: Literal["float32", "float16", "int8"] = "float32"
    patch_set: str | None = Field(None, description="Default: the one the model was trained on.")
    calibration_windows: int = Field(128, ge=1, description="Train windows that set the ranges of int8.")
    force: bool = False


class ExportResult(Result):
    """An exported model and how near it is to the original."""

    version: str
    engine: str
    exported: bool = Field(description="Whether its parity passed and the version is marked as exported.")
    file: str | None = Field(description="The exported file; null when its parity failed.")
    failures: list[str] = Field([], description="Bounds of the parity that are not kept.")
    parity: dict[str, Any] = Field({}, description="Content of parity.json.")
    changed: bool = True
