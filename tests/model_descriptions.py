"""A model's description for tests that do not ask what is in it."""

from typing import Any

from satseg.models.interface import ModelDescription

USUAL: dict[str, Any] = {
    "project": "roofs",
    "architecture": "linknet",
    "backbone": "none",
    "bands": ("red", "green", "blue"),
    "dtype": "uint8",
    "classes": ("building",),
    "patch_px": 64,
    "gsd_m": 0.5,
    "mean": (90.0, 90.0, 90.0),
    "std": (40.0, 40.0, 40.0),
    "dataset_version": "v1",
    "patch_set": "0123456789ab",
}


def describe(**changes: Any) -> ModelDescription:
    """Return the usual description with changes."""
    return ModelDescription(**(USUAL | changes))
