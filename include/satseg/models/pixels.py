"""What every engine needs besides its network: the model's description, and pixels in the right shape."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from satseg.errors import BadDataError
from satseg.models.interface import DESCRIPTION_FILE, ModelDescription


def read_description(folder: Path) -> ModelDescription:
    """Read model.json of a model folder.

    Raises:
        BadDataError: it is missing or broken.
    """
    path = folder / DESCRIPTION_FILE
    try:
        return ModelDescription.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BadDataError(f"{path} does not describe a satseg model ({type(error).__name__}). Train again.") from error


def fitting_pixels(images: NDArray[Any], description: ModelDescription) -> NDArray[Any]:
    """Return the images in their own dtype with the model's mean where a pixel is NaN or infinite.

    Args:
        images: (N, H, W, C) raw pixels; H and W multiples of 32.
        description: of the model they are for.

    Raises:
        BadDataError: the array has another shape than the model takes.
    """
    bands = len(description.bands)
    if images.ndim != 4 or images.shape[-1] != bands or images.shape[1] % 32 or images.shape[2] % 32:
        raise BadDataError(
            f"The model takes (N, H, W, {bands}) with H and W multiples of 32 and bands "
            f"{', '.join(description.bands)}; it was given {images.shape}."
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return np.where(np.isfinite(images), images, np.asarray(description.mean, images.dtype))
    return images
