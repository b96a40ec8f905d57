"""Colours of classes and of overlays, distinguishable with colour-blindness (Okabe and Ito 2008)."""

BACKGROUND = (0, 0, 0)
PREDICTION = (255, 120, 0)
LABEL = (0, 220, 255)
_CLASSES = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (153, 153, 153),
)


def class_colour(class_id: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class id; ids beyond the palette reuse it."""
    return _CLASSES[(class_id - 1) % len(_CLASSES)] if class_id > 0 else BACKGROUND


def colour_table(classes: int) -> dict[int, tuple[int, int, int, int]]:
    """Return the RGBA colour of each id of a class raster, background included."""
    return {class_id: (*class_colour(class_id), 255) for class_id in range(classes + 1)}
