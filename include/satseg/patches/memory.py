"""Giving memory back between the steps of a long-lived process."""

import ctypes
import sys


def give_back() -> None:
    """Return what C libraries have freed to the system: they keep it, and the peak of the next step adds to it."""
    if "pyarrow" in sys.modules:  # behind pandas
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
