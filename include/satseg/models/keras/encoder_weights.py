"""How an encoder trained on RGB pictures (ImageNet) serves scenes of any bands and pixel type.

- Values: the network's input is standardised with the patch set's mean and deviation, then brought to the range its
  encoder learnt with, as if the scene had the mean and deviation of ImageNet. Each encoder has its own range
  (0..1 standardised, -1..1, 0..255, blue first); the library's preprocessing function says which.
- Bands: band k starts with the first kernel of R, G or B for k mod 3 = 0, 1, 2, scaled by 3/N so that the first layer's
  response keeps its size. One band alone starts with the sum of the three, as a grey picture would be seen.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.models.keras.runtime import keras, segmentation_models

PRETRAINED_BANDS = 3
# of ImageNet's training pictures, red, green, blue in 0..1
_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])
_FULL = 255.0


class EncoderInput(NamedTuple):
    """What an encoder expects: channel j is scale[j] · (red, green or blue in 0..255, as order[j] says) + offset[j]."""

    order: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
        """Return the mean and deviation per band with which (pixels - mean) / deviation is what the encoder expects.

        Args:
            mean: of the scenes, per band in raw units.
            std: likewise, > 0.
        """
        means, deviations = [], []
        for band, (average, deviation) in enumerate(zip(mean, std, strict=True)):
            colour = band % PRETRAINED_BANDS
            channel = self.order.index(colour)
            gain = self.scale[channel] * _FULL * _STD[colour]
            shift = self.scale[channel] * _FULL * _MEAN[colour] + self.offset[channel]
            deviations.append(float(deviation / gain))
            means.append(float(average - shift * deviation / gain))
        return means, deviations


def encoder_input(backbone: str) -> EncoderInput:
    """Find out what a backbone expects from what the library's preprocessing makes of black and the pure colours."""
    colours = np.concatenate([np.zeros((1, 3)), _FULL * np.eye(3)]).reshape(1, 4, 1, 3)
    black, *pure = segmentation_models().get_preprocessing(backbone)(colours)[0, :, 0]
    change = (np.array(pure) - black) / _FULL  # [colour, channel]
    order = np.abs(change).argmax(axis=0)
    return EncoderInput(
        tuple(map(int, order)), tuple(map(float, change[order, np.arange(3)])), tuple(map(float, black))
    )


def _for_bands(weights: NDArray[Any], axis: int, bands: int, order: Sequence[int]) -> NDArray[Any]:
    channels = [order.index(band % PRETRAINED_BANDS) for band in range(bands)]
    chosen: NDArray[Any] = weights.mean(axis, keepdims=True) if bands == 1 else weights.take(channels, axis)
    return chosen


def adapt_bands(trained: Any, fresh: Any, order: Sequence[int]) -> Any:
    """Give a network for N bands the weights of one for three; returns the former.

    Args:
        trained: network whose first layers take three channels.
        fresh: the same network for N bands.
        order: the colour (0 red … 2 blue) that each channel of `trained` takes.
    """
    bands = fresh.input_shape[-1]
    for source, target in zip(trained.layers, fresh.layers, strict=True):
        weights = source.get_weights()
        takes_colours = weights and source.input_shape[-1] == PRETRAINED_BANDS
        if takes_colours and isinstance(source, keras.layers.Conv2D):
            kernel = _for_bands(weights[0], 2, bands, order) * (PRETRAINED_BANDS / bands)
            weights = [kernel, *weights[1:]]
        elif takes_colours:  # a batch normalisation of the input
            weights = [_for_bands(vector, 0, bands, order) for vector in weights]
        target.set_weights(weights)
    return fresh
