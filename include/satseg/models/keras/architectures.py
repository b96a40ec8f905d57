"""The networks satseg trains: LinkNet and U-Net of segmentation_models, MAnet of our own."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError, TemporaryError
from satseg.models.backbones import check_backbone
from satseg.models.keras.encoder_weights import PRETRAINED_BANDS, adapt_bands, encoder_input
from satseg.models.keras.manet import build_manet
from satseg.models.keras.portable import portable_network
from satseg.models.keras.runtime import keras, segmentation_models

# how segmentation_models and manet.py begin the names of decoder layers; those without follow on one of these
_DECODER_NAMES = ("decoder_", "center_block")


def _plain_network(config: TrainingConfig, bands: int, channels: int, encoder_weights: str | None) -> Any:
    """Build a network that takes what its encoder was made for, without normalisation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "expects 3 input channels"
        if config.architecture == "manet":
            return build_manet(config.backbone, bands, channels, config.manet_head_channels, encoder_weights)
        library = segmentation_models()
        build = {"linknet": library.Linknet, "unet": library.Unet}[config.architecture]
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
        return _plain_network(config, PRETRAINED_BANDS, channels, source)
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

    H and W are multiples of 32. Inside: normalisation, then the encoder with features at 1/2 … 1/32 of the size, then
    the decoder. Millions of parameters with three bands and one class:

    | | linknet | unet | manet |
    |---|---|---|---|
    | efficientnetb0 | 6.1 | 10.1 | 13.2 |
    | resnet18 | 11.5 | 14.3 | 17.5 |

    Initial weights follow Keras' random seed (`keras.utils.set_random_seed`). With `encoder_weights` the encoder starts
    from weights for three bands; `encoder_weights.py` says what other numbers of bands get.

    Raises:
        ConfigurationError: unknown backbone or missing weights file.
        TemporaryError: ImageNet weights cannot be downloaded.
        BadDataError: the weights file belongs to another network.
    """
    check_backbone(config.backbone)
    if config.encoder_weights is None:
        return portable_network(_plain_network(config, bands, channels, None), mean, std, config.batch_norm_momentum)
    expected = encoder_input(config.backbone)
    network = _pretrained_network(config, channels)
    if bands != PRETRAINED_BANDS or expected.order != (0, 1, 2):
        network = adapt_bands(network, _plain_network(config, bands, channels, None), expected.order)
    return portable_network(network, *expected.normalisation(mean, std), config.batch_norm_momentum)


def encoder_layers(network: Any) -> list[Any]:
    """Return the layers of a network that belong to its encoder."""
    encoder: list[Any] = []
    decoder: set[str] = set()
    for layer in network.layers:  # parents come first
        parents = {parent.layer.name for node in layer.inbound_nodes for parent in node.parent_nodes}
        if layer.name.startswith(_DECODER_NAMES) or parents & decoder:
            decoder.add(layer.name)
        else:
            encoder.append(layer)
    return encoder


def set_batch_norm_momentum(network: Any, momentum: float) -> None:
    """Set the momentum of every batch normalisation of a loaded network."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
