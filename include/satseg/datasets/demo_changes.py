"""Stated changes of a picture: haze, gain, blur, noise; two sensors; and what the seasons do to a town."""

from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.errors import ConfigurationError

SeasonName = Literal["summer", "autumn", "winter", "dry"]
SensorName = Literal["a", "b"]
Colour = tuple[float, float, float]

FULL_HAZE_TRANSMISSION = 0.2  # the thickest haze leaves a fifth of the contrast: labels stay true
AIRLIGHT = (0.80, 0.83, 0.87)  # red, green, blue of the haze itself as parts of full scale; further bands as green


@dataclass(frozen=True)
class Change:
    """A change of finished pixels.

    Attributes:
        haze: 0 clear … 1 thickest; transmission t = 1 − 0.8 · haze.
        gain: factor on the digital numbers.
        blur_px: standard deviation of a Gaussian point spread function in pixels.
        noise_dn: standard deviation of added Gaussian noise in digital numbers.
    """

    haze: float = 0.0
    gain: float = 1.0
    blur_px: float = 0.0
    noise_dn: float = 0.0

    def __post_init__(self) -> None:
        _check("--haze", self.haze, 0, 1)
        _check("--gain", self.gain, 0.05, 20)
        _check("--blur", self.blur_px, 0, 50)
        _check("--noise", self.noise_dn, 0, 10_000)

    @property
    def nothing(self) -> bool:
        """Whether the change leaves pixels as they are."""
        return self == Change()

    @property
    def halo_px(self) -> int:
        """Rows needed around a strip so that strips blur as the whole picture would."""
        return 0 if self.blur_px == 0 else int(np.ceil(4 * self.blur_px)) + 1

    def apply(self, pixels: NDArray[np.float32], full_scale: float, random: np.random.Generator) -> NDArray[np.float32]:
        """Return changed pixels, neither clipped nor rounded; the order is air, optics, electronics.

        Haze follows Koschmieder's law I = J·t + A·(1 − t): contrast shrinks by the transmission t and the airlight A
        is added (Narasimhan and Nayar, Vision and the Atmosphere, IJCV 2002). Gain is linear in digital numbers.

        Args:
            pixels: (H, W, C) float32 digital numbers; changed in place where possible.
            full_scale: the brightest digital number the sensor writes.
            random: source of the noise.
        """
        if self.haze > 0:
            transmission = np.float32(1 - (1 - FULL_HAZE_TRANSMISSION) * self.haze)
            air = [AIRLIGHT[i] if i < 3 else AIRLIGHT[1] for i in range(pixels.shape[2])]
            pixels *= transmission
            pixels += np.float32(full_scale) * (1 - transmission) * np.array(air, dtype=np.float32)
        if self.blur_px > 0:
            for band in range(pixels.shape[2]):  # band by band: OpenCV blurs at most four at once
                pixels[..., band] = blurred(np.ascontiguousarray(pixels[..., band]), self.blur_px)
        if self.gain != 1:
            pixels *= np.float32(self.gain)
        if self.noise_dn > 0:
            pixels += random.standard_normal(pixels.shape, dtype=np.float32) * np.float32(self.noise_dn)
        return pixels


def blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Return an image (H, W[, C]) blurred by a Gaussian that reaches four deviations."""
    side = 2 * int(np.ceil(4 * sigma_px)) + 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT_101), np.float32)


def to_dtype(pixels: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Return pixels rounded and clipped to an integer type; float types pass through."""
    if np.issubdtype(np.dtype(dtype), np.floating):
        return pixels.astype(dtype)
    limits = np.iinfo(dtype)
    # float32 cannot hold the largest 32-bit integers: clip in double there
    wide = pixels if limits.bits <= 16 else pixels.astype(np.float64)
    return np.clip(np.rint(wide), limits.min, limits.max).astype(dtype)


@dataclass(frozen=True)
class Sensor:
    """How a camera turns light into digital numbers: response by colour, tone curve, sharpness, noise."""

    response: Colour
    saturation: float
    gamma: float
    psf_px: float
    sharpening: float
    noise_dn: float


SENSORS: dict[SensorName, Sensor] = {
    "a": Sensor((1.0, 1.0, 1.0), 0.88, 1.0, 0.55, 0.35, 2.2),
    "b": Sensor((0.88, 0.98, 1.12), 0.72, 0.86, 0.8, 0.0, 4.0),
}


def expose(image: NDArray[np.float32], sensor: Sensor, random: np.random.Generator) -> NDArray[np.float32]:
    """Return digital numbers 0..255 of a clean picture (H, W, 3) float32 as the sensor would write them."""
    sharp = blurred(image, sensor.psf_px)
    grey = sharp.mean(axis=2, keepdims=True)
    sharp += np.float32(1 - sensor.saturation) * (grey - sharp)
    if sensor.sharpening > 0:  # map makers sharpen: slight halos at edges
        sharp += np.float32(sensor.sharpening) * (sharp - blurred(sharp, 1.2))
    if sensor.gamma != 1:
        np.clip(sharp, 0, 255, out=sharp)
        sharp = np.float32(255) * (sharp / np.float32(255)) ** np.float32(sensor.gamma)
    sharp *= np.array(sensor.response, dtype=np.float32)
    # the grain of the detectors is common to the bands, colour noise is weaker
    grain = random.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(sensor.noise_dn)
    sharp += grain[..., None]
    sharp += random.standard_normal(image.shape, dtype=np.float32) * np.float32(0.5 * sensor.noise_dn)
    return sharp


@dataclass(frozen=True)
class Season:
    """Sun and vegetation of a season; colours are digital numbers of flat, sunlit ground."""

    sun_elevation: float
    grass: tuple[Colour, Colour]
    grass_shift: float
    soil: tuple[Colour, Colour]
    crops: tuple[Colour, Colour]
    leaves: tuple[Colour, ...]
    leafless: bool = False
    snow: float = 0.0


_DRY_SOIL = ((184.0, 148.0, 112.0), (196.0, 140.0, 100.0))
SEASONS: dict[SeasonName, Season] = {
    "summer": Season(
        52,
        ((92, 108, 58), (126, 134, 76)),
        0.0,
        ((168, 136, 104), (186, 132, 96)),
        ((104, 122, 58), (150, 148, 84)),
        ((66, 88, 46), (84, 104, 52), (58, 78, 44), (104, 122, 58), (120, 134, 62)),
    ),
    "autumn": Season(
        36,
        ((112, 112, 62), (146, 136, 82)),
        -0.05,
        ((150, 122, 94), (168, 122, 90)),
        ((150, 130, 82), (168, 142, 92)),
        ((184, 132, 62), (164, 96, 58), (190, 156, 78), (112, 110, 58), (142, 88, 58)),
    ),
    "winter": Season(
        24,
        ((122, 116, 88), (140, 130, 100)),
        -0.08,
        ((138, 118, 98), (150, 120, 98)),
        ((132, 118, 94), (146, 130, 104)),
        ((104, 92, 80), (120, 106, 92), (94, 84, 74)),
        leafless=True,
        snow=0.45,
    ),
    "dry": Season(
        58,
        ((172, 152, 104), (194, 172, 120)),
        -0.1,
        _DRY_SOIL,
        ((196, 172, 116), (186, 156, 106)),
        ((96, 102, 60), (112, 112, 66), (84, 92, 56), (138, 128, 80)),
    ),
}


@dataclass(frozen=True)
class Look:
    """Everything that changes how a town looks, and nothing of its plan.

    Attributes:
        season: light, plants and snow.
        sensor: colour response, sharpness and noise of the camera.
        change: haze, gain, blur and noise on top.
    """

    season: SeasonName = "summer"
    sensor: SensorName = "a"
    change: Change = field(default_factory=Change)

    def __post_init__(self) -> None:
        for option, value, known in (("--season", self.season, SEASONS), ("--sensor", self.sensor, SENSORS)):
            if value not in known:
                raise ConfigurationError(f"{option} {value!r} is unknown. Choose one of: {', '.join(known)}.")


def _check(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigurationError(f"{option} is {value:g}; it must lie between {least:g} and {most:g}.")
