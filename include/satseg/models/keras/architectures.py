"""Networks of segmentation_models as satseg trains them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError, TemporaryError
from satseg.models.backbones import check_backbone
from satseg.models.keras.portable import portable_network
from satseg.models.keras.runtime import keras, segmentation_models

_PRETRAINED_BANDS = 3


def fit_bands(weights: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return weights of an RGB network for another number of bands, repeating R, G, B along the band axis.

    Kernels are scaled by 3/N so that the first layer's response keeps its size.
    """
    if weights.shape == shape:
        return weights
    axis = next(index for index, (old, new) in enumerate(zip(weights.shape, shape, strict=True)) if old != new)
    repeated: NDArray[Any] = np.take(weights, np.arange(shape[axis]) % weights.shape[axis], axis=axis)
    return repeated * (weights.shape[axis] / shape[axis]) if weights.ndim == 4 else repeated


def _library_network(config: TrainingConfig, bands: int, channels: int, encoder_weights: str | None) -> Any:
    library = segmentation_models()
    build = {"linknet": library.Linknet, "unet": library.Unet}[config.architecture]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "expects 3 input channels"
        return build(
            config.backbone,
            input_shape=(None, None, bands),
            classes=channels,
            activation="sigmoid" if channels == 1 else "softmax",
            encoder_weights=encoder_weights,
        )


def _pretrained_network(config: TrainingConfig, channels: int) -> Any:
    source = config.encoder_weights
    if source != "imagenet" and not Path(str(source)).is_file():
        raise ConfigurationError(
            f"training.encoder_weights: '{source}' is neither null, 'imagenet' nor an existing weights file."
        )
    try:
        return _library_network(config, _PRETRAINED_BANDS, channels, source)
    except Exception as error:  # Keras reports a failed download as a bare Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if source == "imagenet" and "fetch" in reason.lower():
            raise TemporaryError(
                f"ImageNet weights of {config.backbone} could not be downloaded: {reason}. "
                "Set training.encoder_weights to a weights file, or to null to train from scratch."
            ) from error
        raise BadDataError(f"training.encoder_weights: {source} does not fit {config.backbone}: {reason}") from error


def build_network(
    config: TrainingConfig, bands: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Any:
    """Build the network of a training: raw pixels (N, H, W, bands) in, probabilities (N, H, W, channels) out.

    Initial weights follow Keras' random seed; see `keras.utils.set_random_seed`.

    Raises:
        ConfigurationError: unknown backbone or missing weights file.
        TemporaryError: ImageNet weights cannot be downloaded.
        BadDataError: the weights file belongs to another network.
    """
    check_backbone(config.backbone)
    if config.encoder_weights is None:
        network = _library_network(config, bands, channels, None)
    else:
        network = _pretrained_network(config, channels)
        if bands != _PRETRAINED_BANDS:
            wider = _library_network(config, bands, channels, None)
            pairs = zip(network.get_weights(), wider.get_weights(), strict=True)
            wider.set_weights([fit_bands(trained, fresh.shape) for trained, fresh in pairs])
            network = wider
    return portable_network(network, mean, std, config.batch_norm_momentum)


def set_batch_norm_momentum(network: Any, momentum: float) -> None:
    """Set the momentum of every batch normalisation of a loaded network."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
