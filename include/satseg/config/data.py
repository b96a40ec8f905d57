"""The parts of a project file that decide what enters a dataset version."""

from pydantic import Field

from satseg.config.section import Fraction, Section


class AnnotationConfig(Section):
    """How labels are read."""

    strict: bool = Field(
        False, description="Quarantine a scene with a polygon of an unknown class instead of dropping it."
    )
    class_property: str = Field("class", description="GeoJSON property that holds the class name.")


class ValidationConfig(Section):
    """What a scene must be to enter a dataset version."""

    min_size_px: int = Field(64, ge=1, description="Smallest width and height of a scene.")
    max_nodata_fraction: Fraction = Field(0.9, description="Largest part of a scene that may be nodata.")
    dtypes: tuple[str, ...] = Field(("uint8", "uint16", "int16", "float32"), description="Accepted pixel types.")
