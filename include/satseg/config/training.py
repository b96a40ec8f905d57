"""The parts of a project file that decide how models learn."""

from typing import Literal

from pydantic import Field

from satseg.config.section import Fraction, Section

Augmentation = Literal["flip", "rotate90", "brightness", "contrast"]


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
