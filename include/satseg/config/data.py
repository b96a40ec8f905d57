"""The parts of a project file that decide what enters a dataset version."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from satseg.config.section import Fraction, Section

Percent = Annotated[float, Field(ge=0.0, le=100.0)]
PixelType = Literal["uint8", "uint16", "int16", "float32"]
ResamplingName = Literal["auto", "nearest", "bilinear", "cubic", "average"]


class DarkObjectConfig(Section):
    """Dark-object subtraction: what the darkest pixels of a band hold is haze, and is taken off the band.

    Chavez 1988, histogram method: each band's haze is read from that band's own histogram; the relative scattering
    models of the paper are not used.
    """

    percent: Percent = Field(0.01, description="The dark object: this percentile of a band's valid pixels.")
    reflectance: float = Field(0.0, ge=0.0, description="What the dark object should be after it; 0.01: Chavez 1996.")


class StretchConfig(Section):
    """Linear stretch of each band between two of its percentiles, to the whole range of the output type."""

    low_percent: Percent = Field(2.0, description="Percentile that becomes the least value.")
    high_percent: Percent = Field(98.0, description="Percentile that becomes the greatest value.")

    @model_validator(mode="after")
    def _consistent(self) -> "StretchConfig":
        if self.low_percent >= self.high_percent:
            raise ValueError(f"low_percent {self.low_percent} is not below high_percent {self.high_percent}")
        return self


class RadiometryConfig(Section):
    """What is done to pixel values, in this order: calibrate, dark_object, stretch, dtype."""

    calibrate: Literal["none", "metadata", "project"] = Field(
        "none",
        description="value × scale + offset: from each scene's metadata (STAC raster:bands, scene file, GDAL tags) or "
        "from this file.",
    )
    scale: tuple[float, ...] = Field((), description="For calibrate: project; one number for all bands or one each.")
    offset: tuple[float, ...] = Field((0.0,), description="For calibrate: project; one for all bands or one each.")
    dark_object: DarkObjectConfig | None = Field(None, description="Subtract the dark object of each band; {} does.")
    stretch: StretchConfig | None = Field(None, description="Stretch each band between percentiles; {} does.")
    dtype: PixelType | None = Field(
        None, description="Pixel type of the result; null: uint8 after stretch, float32 after calibrate, else as it is."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "RadiometryConfig":
        if (self.calibrate == "project") != bool(self.scale):
            raise ValueError("calibrate: project needs scale, and scale needs calibrate: project")
        if self.calibrate != "project" and self.offset != (0.0,):
            raise ValueError("offset needs calibrate: project")
        if any(value <= 0 for value in self.scale):
            raise ValueError("scale must be greater than 0")
        if self.calibrate != "none" and self.stretch is None and self.dtype not in {None, "float32"}:
            raise ValueError(f"calibrated values do not fit {self.dtype}; take dtype float32, or add a stretch")
        return self


MaskValue = Annotated[int, Field(ge=0, le=65535)] | Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class AnnotationConfig(Section):
    """How labels are read."""

    strict: bool = Field(
        False, description="Quarantine a scene with a polygon of an unknown class instead of dropping it."
    )
    class_property: str = Field("class", description="Property or column of vector files that holds the class name.")
    class_names: dict[str, str] = Field(
        {},
        description="Names in label files that mean a class called otherwise here, like {Flat Roof: flat_roof}; "
        "several may mean the same.",
    )
    layer: str | None = Field(
        None, description="Layer of GeoPackages; null takes the only one with areas, or the one called like the file."
    )
    crs: str | None = Field(
        None, description="CRS of vector files that do not say theirs, such as a Shapefile without .prj."
    )
    line_buffer: float | None = Field(
        None,
        gt=0,
        description="Metres (pixels without a CRS) to each side by which lines become areas; null drops lines.",
    )
    mask_values: dict[str, MaskValue | tuple[MaskValue, ...]] = Field(
        {},
        description="Pixel values or colours (like '#ff0000') of raster masks by class, and by background for none; "
        "empty takes value k as class k.",
    )


RuleName = Literal[
    "crs", "gsd_range", "size", "black", "contrast", "labelled", "same_file", "same_ground", "label_size", "label_area",
]  # fmt: skip
# YAML reads a bare `off` as false
Severity = Annotated[Literal["error", "warning", "off"], BeforeValidator(lambda word: "off" if word is False else word)]


class ValidationConfig(Section):
    """What a scene must be to enter a dataset version.

    Great Expectations gets its suite from this and from bands, classes and gsd_m. An error quarantines the scene, a
    warning is reported with the result.
    """

    dtypes: tuple[str, ...] = Field(("uint8", "uint16", "int16", "float32"), description="Accepted pixel types.")
    crs: tuple[str, ...] = Field(
        (), description="Accepted CRSs of the scenes as they come, like [EPSG:32636]; empty accepts any and none."
    )
    gsd_range_m: tuple[float, float] | None = Field(
        None, description="Least and greatest ground sample distance of the scenes as they come; null accepts any."
    )
    max_upsampling: float = Field(
        4.0, ge=1, description="How many times coarser than gsd_m a scene may come; finer ones always may."
    )
    min_size_px: int = Field(64, ge=1, description="Smallest width and height of a scene.")
    max_size_px: int | None = Field(None, ge=1, description="Greatest width and height of a scene; null: no limit.")
    max_nodata_fraction: Fraction = Field(0.9, description="Largest part of a scene that may be nodata.")
    max_black_fraction: Fraction = Field(
        0.2, description="Largest part that may be 0 in all bands where no nodata value is set."
    )
    min_label_area_px: float = Field(4.0, ge=0.0, description="Least area of a polygon in pixels.")
    label_area_m2: tuple[float, float] | None = Field(
        None, description="Least and greatest area of a polygon in square metres; null accepts any."
    )
    max_overlap: Fraction = Field(
        0.9,
        description="Largest part of a scene's ground that another scene of the same day (or of an unknown day) may "
        "cover.",
    )
    severity: dict[RuleName, Severity] = Field(
        {},
        description="Severity of single rules, other than the usual: error for crs, gsd_range and size, warning for "
        "the rest. Rules that are not listed here are always errors.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ValidationConfig":
        if self.max_size_px is not None and self.max_size_px < self.min_size_px:
            raise ValueError(f"max_size_px {self.max_size_px} is below min_size_px {self.min_size_px}")
        for key in ("gsd_range_m", "label_area_m2"):
            limits = getattr(self, key)
            if limits is not None and not 0 <= limits[0] <= limits[1]:
                raise ValueError(f"{key} {list(limits)} must be [least, greatest]")
        return self
