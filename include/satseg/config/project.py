"""What a map product is: one YAML file per project, every key with a default and a description."""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from satseg.errors import ConfigurationError, NotFoundError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Augmentation = Literal["flip", "rotate90", "brightness", "contrast"]


class Section(BaseModel):
    """Base of all parts of a project file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AnnotationConfig(Section):
    """How labels are read."""

    strict: bool = Field(
        False, description="Quarantine a scene with a polygon of an unknown class instead of dropping it."
    )
    class_property: str = Field("class", description="GeoJSON property that holds the class name.")


class ValidationConfig(Section):
    """What a scene must be to enter a dataset version."""

    min_size_px: int = Field(64, ge=1, description="Smallest width and height of a scene.")
    max_nodata_fraction: Fraction = Field(0.9, description="Largest part of a scene that may be nodata.")
    dtypes: tuple[str, ...] = Field(("uint8", "uint16", "int16", "float32"), description="Accepted pixel types.")


class PatchConfig(Section):
    """How scenes are cut into windows, sampled and split."""

    size_px: int = Field(256, ge=32, multiple_of=32, description="Width and height of a patch.")
    stride_px: int = Field(128, ge=16, description="Step between training windows; val and test use size_px.")
    block_px: int = Field(512, ge=32, description="Side of a spatial block; a block belongs to one split.")
    buffer_m: float = Field(5.0, ge=0, description="Least distance of training windows to val and test windows.")
    buffer_px: int = Field(16, ge=0, description="The same for scenes without a CRS.")
    val_fraction: Fraction = Field(0.15, description="Part of the blocks used to choose the epoch.")
    test_fraction: Fraction = Field(0.2, description="Part of the blocks held out for evaluation.")
    max_nodata_fraction: Fraction = Field(0.5, description="Windows with more nodata are dropped.")
    positive_fraction: Fraction = Field(0.01, description="Labelled part from which a window counts as positive.")
    copies_per_positive: int = Field(6, ge=1, description="Draw weight of a positive window in training.")
    negatives_per_positive: float = Field(1.0, ge=0, description="Training negatives kept per positive.")
    shard_mib: int = Field(128, ge=1, description="Size of one shard file.")
    seed: int = Field(0, description="Seed of split and sampling.")

    @model_validator(mode="after")
    def _consistent(self) -> "PatchConfig":
        if self.stride_px > self.size_px:
            raise ValueError(f"stride_px {self.stride_px} is larger than size_px {self.size_px}: pixels would be lost")
        if self.block_px % self.size_px:
            raise ValueError(f"block_px {self.block_px} is not a multiple of size_px {self.size_px}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction + test_fraction leave nothing to train on")
        return self


class TrainingConfig(Section):
    """Model and optimisation."""

    architecture: Literal["linknet", "unet"] = Field("linknet", description="Decoder.")
    backbone: str = Field("efficientnetb0", description="Encoder: any name of segmentation_models.")
    encoder_weights: str | None = Field(None, description="null, 'imagenet' (downloads) or a weights file.")
    batch_norm_momentum: float = Field(
        0.9, gt=0, lt=1, description="0.9 learns in short runs; the library's 0.99 does not."
    )
    loss: Literal["dice_bce", "dice", "bce"] = Field("dice_bce", description="Loss function.")
    batch_size: int = Field(8, ge=1, description="Patches per step.")
    epochs: int = Field(30, ge=1, description="Passes; the cosine schedule ends with the last.")
    steps_per_epoch: int | None = Field(None, ge=1, description="Steps of one epoch; default: all draws once.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of Adam.")
    warmup_fraction: Fraction = Field(0.05, description="Part of the steps in which the learning rate rises.")
    early_stopping_epochs: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a better val IoU."
    )
    max_minutes: float | None = Field(None, gt=0, description="Stop after this time and keep the best epoch.")
    augmentations: tuple[Augmentation, ...] = Field(
        ("flip", "rotate90", "brightness", "contrast"), description="Random changes of training patches."
    )
    brightness: float = Field(0.1, ge=0, le=1, description="Largest added offset, in units of the full range.")
    contrast: float = Field(0.1, ge=0, le=1, description="Largest relative change of contrast.")
    seed: int = Field(0, description="Seed of weights, order and augmentation.")


class RetrainingConfig(Section):
    """What retraining from the champion does differently from a first training."""

    epochs: int = Field(10, ge=1, description="Epochs when starting from the champion.")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate when starting from the champion.")


class PromotionConfig(Section):
    """Gates between challenger and champion."""

    min_iou: Fraction = Field(0.3, description="Absolute floor of the test IoU.")
    margin_over_all_positive: float = Field(
        0.0, description="Least test IoU above the map that is positive everywhere."
    )
    max_iou_loss: Fraction = Field(0.01, description="How much worse than the champion a challenger may be.")
    approval: Literal["auto", "manual"] = Field("auto", description="manual asks a person in the Airflow UI.")


class InferenceConfig(Section):
    """How whole scenes are predicted."""

    window_px: int = Field(256, ge=64, multiple_of=32, description="Window fed to the model.")
    overlap: float = Field(0.5, ge=0, lt=1, description="Overlapping part of neighbouring windows.")
    batch_size: int = Field(8, ge=1, description="Windows per model call.")
    threshold: Fraction = Field(0.5, description="Probability from which a pixel belongs to a class (one-class maps).")
    min_area_m2: float = Field(2.0, ge=0, description="Smaller polygons are dropped.")
    simplify_m: float = Field(0.2, ge=0, description="Douglas-Peucker tolerance of the polygons.")


class ConfirmConfig(Section):
    """k of n nights."""

    nights: int = Field(2, ge=1, description="Drifted nights needed (k).")
    of: int = Field(3, ge=1, description="Latest nights looked at (n).")

    @model_validator(mode="after")
    def _consistent(self) -> "ConfirmConfig":
        if self.nights > self.of:
            raise ValueError(f"nights {self.nights} is larger than of {self.of}: drift could never be confirmed")
        return self


class DriftConfig(Section):
    """When a night counts as drifted and what follows."""

    false_alarm_rate: float = Field(0.05, gt=0, lt=0.5, description="Chance of an alarm in a night without drift.")
    min_effect: Fraction = Field(0.25, description="Least Kolmogorov-Smirnov distance that counts.")
    permutations: int = Field(999, ge=99, description="Permutations of blocks for the null distribution.")
    patch_px: int = Field(128, ge=32, description="Patch from which features are computed.")
    block_patches: int = Field(2, ge=1, description="A block is so many patches wide and high.")
    confirm: ConfirmConfig = Field(ConfirmConfig(), description="Confirmation rule of the sensor.")
    cooldown_nights: int = Field(3, ge=0, description="Nights after a closed episode in which none opens.")
    seed: int = Field(0, ge=0, description="Seed of the permutations, together with the night.")


class ScheduleConfig(Section):
    """Cron expressions (UTC); null means manual only."""

    ingestion: str | None = Field(None, description="When incoming/<project>/ is ingested.")
    inference: str | None = Field(None, description="When new scenes are predicted, besides after a promotion.")
    drift: str | None = Field("0 2 * * *", description="The nightly drift detection.")


class ProjectConfig(Section):
    """One map product."""

    name: Name = Field(description="Name of the project, its DAGs and its registered model.")
    description: str = Field("", description="One sentence for people.")
    classes: tuple[Name, ...] = Field(min_length=1, description="Classes; ids count from 1, 0 is background.")
    bands: tuple[str, ...] = Field(("red", "green", "blue"), min_length=1, description="Bands in the scenes' order.")
    crs: str | None = Field(None, description="CRS all scenes are brought to; null keeps each scene's own.")
    gsd_m: float | None = Field(None, gt=0, description="Ground sample distance all scenes are resampled to.")
    annotations: AnnotationConfig = AnnotationConfig()
    validation: ValidationConfig = ValidationConfig()
    patches: PatchConfig = PatchConfig()
    training: TrainingConfig = TrainingConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    promotion: PromotionConfig = PromotionConfig()
    inference: InferenceConfig = InferenceConfig()
    drift: DriftConfig = DriftConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "ProjectConfig":
        if len(set(self.classes)) != len(self.classes) or "background" in self.classes:
            raise ValueError("classes must be distinct and not contain 'background' (it is class 0 by itself)")
        if len(self.classes) > 254:
            raise ValueError("at most 254 classes fit into uint8 masks")
        return self

    def class_id(self, name: str) -> int | None:
        """Return the id (1..N) of a class name, None for an unknown one."""
        return self.classes.index(name) + 1 if name in self.classes else None


def content_id(*parts: Any) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of the parts' canonical JSON."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _valid_keys(location: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = ProjectConfig
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)


def _explain(error: ValidationError) -> str:
    lines = []
    for entry in error.errors():
        where = ".".join(str(part) for part in entry["loc"]) or "(whole file)"
        if entry["type"] == "extra_forbidden":
            valid = _valid_keys(entry["loc"][:-1])
            near = difflib.get_close_matches(str(entry["loc"][-1]), valid, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(valid)}."
            lines.append(f"{where}: unknown key; {hint}")
        elif entry["type"] == "missing":
            lines.append(f"{where}: this key is required.")
        else:
            lines.append(f"{where}: {entry['msg'].removeprefix('Value error, ')} (value {entry['input']!r}).")
    return " ".join(lines)


def _set_path(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        nested = tree.setdefault(parent, {})
        if not isinstance(nested, dict):
            raise ConfigurationError(f"--set {dotted}: '{parent}' is a value, not a section of the project file.")
        tree = nested
    tree[leaf] = value


def parse_project(text: str, origin: str, overrides: tuple[str, ...] = ()) -> ProjectConfig:
    """Read a project from YAML text and apply `key.subkey=value` overrides.

    Raises:
        ConfigurationError: not YAML, an unknown key (the nearest valid one is named) or a wrong value.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{origin} must be a mapping with at least 'name' and 'classes'; see include/projects/."
        )
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ConfigurationError(f"--set {override!r}: write it as key=value, for example training.epochs=3.")
        try:
            _set_path(tree, key.strip(), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigurationError(f"--set {override!r}: the value is not valid YAML ({error}).") from error
    try:
        return ProjectConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {_explain(error)}") from error


def project_files(projects_dir: Path) -> dict[str, Path]:
    """Return the project files of a folder by their stem, sorted."""
    return {path.stem: path for path in sorted(projects_dir.glob("*.yaml"))}


def load_project(reference: str | None, projects_dir: Path, overrides: tuple[str, ...] = ()) -> ProjectConfig:
    """Load a project by name or file; None means the only one there is.

    Raises:
        NotFoundError: no such project; the message lists those there are.
        ConfigurationError: the file is wrong.
    """
    known = project_files(projects_dir)
    names = ", ".join(known) or "none"
    if reference is None:
        if len(known) != 1:
            raise NotFoundError(f"Which project? Give --project or set SATSEG_PROJECT. In {projects_dir}: {names}.")
        path = next(iter(known.values()))
    elif reference in known:
        path = known[reference]
    elif Path(reference).is_file():
        path = Path(reference)
    else:
        raise NotFoundError(f"No project '{reference}' (neither a file nor one of {projects_dir}: {names}).")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Project file {path} cannot be read: {error}") from error
    project = parse_project(text, str(path), overrides)
    if path == known.get(path.stem) and project.name != path.stem:
        raise ConfigurationError(
            f"{path}: name is '{project.name}'; rename the file to {project.name}.yaml or the name."
        )
    return project
