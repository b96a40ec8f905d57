"""The parts of a project file that decide how models learn."""

from typing import Literal

from pydantic import Field

from satseg.config.section import Fraction, Section

Augmentation = Literal[
    "flip", "rotate90", "scale", "crop", "brightness", "contrast", "gamma", "band_gain", "blur", "haze", "cutout"
]
Architecture = Literal["linknet", "unet", "manet"]
Loss = Literal["dice_bce", "dice", "bce", "focal", "tversky", "lovasz"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]


class AugmentationStrength(Section):
    """How far the random changes named in `training.augmentations` go; docs/augmentation.md shows each."""

    chance: Fraction = Field(0.5, description="Part of the windows that scale, crop, blur, haze and cutout change.")
    scale: float = Field(0.25, ge=0, le=0.9, description="Largest relative enlargement or reduction.")
    crop: float = Field(0.25, ge=0, le=0.9, description="Largest part of the side cut away before enlarging the rest.")
    gamma: float = Field(0.2, ge=0, le=1, description="Largest change of the exponent, as a power of two.")
    band_gain: float = Field(0.1, ge=0, le=1, description="Largest relative gain of each band by itself.")
    blur_px: float = Field(1.0, gt=0, le=3, description="Largest standard deviation of the Gaussian blur.")
    haze: Fraction = Field(0.4, description="Largest part of the light that haze replaces, at its thickest.")
    cutout: Fraction = Field(0.3, description="Largest side of the hidden square, as a part of the window.")


class TrainingConfig(Section):
    """Model and optimisation."""

    architecture: Architecture = Field("linknet", description="Decoder.")
    backbone: str = Field("efficientnetb0", description="Encoder: any name of segmentation_models.")
    encoder_weights: str | None = Field(None, description="null, 'imagenet' (downloads) or a weights file.")
    batch_norm_momentum: float = Field(
        0.9, gt=0, lt=1, description="0.9 learns in short runs; the library's 0.99 does not."
    )
    manet_head_channels: int = Field(
        320,
        ge=16,
        description="MAnet: channels the encoder's output is reduced to; unreduced it weighs 55 M parameters.",
    )
    loss: Loss = Field("dice_bce", description="Loss function.")
    class_weights: Literal["balanced"] | tuple[float, ...] | None = Field(
        None, description="Weights in the loss: null, 'balanced' (the patch set's), or numbers, background first."
    )
    focal_gamma: float = Field(2.0, ge=0, description="Focal loss: how much less sure pixels count.")
    tversky_alpha: float = Field(0.3, ge=0, le=1, description="Tversky loss: weight of false positives.")
    tversky_beta: float = Field(0.7, ge=0, le=1, description="Tversky loss: weight of false negatives.")
    gradient_clip_norm: float | None = Field(None, gt=0, description="Largest norm of all gradients together.")
    weight_averaging: Fraction = Field(
        0.2,
        description="What is validated and kept is the mean of the weights over about this part of the steps so far; "
        "0: the last step's weights.",
    )
    precision: Precision = Field(
        "auto", description="Number format of the network; auto: half precision where a GPU gains from it."
    )
    xla: bool = Field(False, description="Compile the training step with XLA (GPUs; slower on CPUs).")
    steps_per_execution: int = Field(1, ge=1, description="Steps per call into TensorFlow; small steps on GPUs gain.")
    repeatable_on_gpu: bool = Field(
        False, description="Same weights every time on a GPU too, at a lower speed; on CPUs this is always so."
    )
    cache_mib: int = Field(1024, ge=0, description="Train windows stay in memory when they need no more than this.")
    batch_size: int = Field(8, ge=1, description="Patches per step.")
    epochs: int = Field(30, ge=1, description="Passes; the cosine schedule ends with the last.")
    steps_per_epoch: int | None = Field(None, ge=1, description="Steps of one epoch; default: all draws once.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of Adam.")
    warmup_fraction: Fraction = Field(0.05, description="Part of the steps in which the learning rate rises.")
    early_stopping_epochs: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a better val IoU."
    )
    max_minutes: float | None = Field(None, gt=0, description="Stop after this time and keep the best epoch.")
    schedule: Literal["cosine", "plateau"] = Field(
        "cosine", description="After the warm-up: half a cosine to the end, or lower at each plateau of the val IoU."
    )
    plateau_epochs: int = Field(5, ge=1, description="A plateau: so many epochs without a better val IoU.")
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="What a plateau multiplies the learning rate by.")
    gpus: int = Field(1, ge=1, description="GPUs one run trains on; each step's batch is divided among them.")
    augmentations: tuple[Augmentation, ...] = Field(
        ("flip", "rotate90", "brightness", "contrast"), description="Random changes of training patches."
    )
    brightness: float = Field(0.1, ge=0, le=1, description="Largest added offset, in units of the full range.")
    contrast: float = Field(0.1, ge=0, le=1, description="Largest relative change of contrast.")
    strength: AugmentationStrength = Field(AugmentationStrength(), description="How far the other changes go.")
    seed: int = Field(0, description="Seed of weights, order and augmentation.")


class RetrainingConfig(Section):
    """What retraining from the champion does differently from a first training."""

    epochs: int = Field(10, ge=1, description="Epochs when starting from the champion.")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate when starting from the champion.")
    freeze_encoder_epochs: int = Field(
        0, ge=0, description="First epochs in which the encoder keeps its weights and only the decoder learns."
    )
    new_share: float | None = Field(
        0.5,
        gt=0,
        lt=1,
        description="Part of the draws from scenes that the starting model has not learned from, so that few new ones "
        "count and the old ones are replayed; null: as many as there are.",
    )
    min_new_scenes: int = Field(
        1,
        ge=0,
        description="Newly labelled scenes (a window is one) needed to train; with fewer, annotators are asked.",
    )
    ask_windows: int = Field(20, ge=1, le=10_000, description="Windows that annotators are asked to label.")
    wait_days: float = Field(
        14.0, gt=0, le=365, description="Days to wait for them; then what is labelled by then has to do."
    )
