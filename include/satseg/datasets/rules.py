"""What a scene and its annotations must be: one list of rules, from which Great Expectations gets its suite.

The same rules are asked before a scene is converted, so that no time goes into a scene that will be refused.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from rasterio.crs import CRS
from rasterio.errors import CRSError

from satseg.config.data import ValidationConfig
from satseg.config.project import ProjectConfig
from satseg.errors import ConfigurationError
from satseg.scenes.grid import GSD_TOLERANCE, crs_name

NO_CRS = "none"  # what the column source_crs says of a scene in pixel space

Table = Literal["scenes", "annotations"]


@dataclass(frozen=True)
class Rule:
    """A column's allowed values: a set (`allowed`) or a closed range (`low`, `high`); empty cells pass.

    An empty `allowed` wants every cell empty. A broken critical rule quarantines the scene, a broken warning is
    reported. `says` is the reason, with the value in place of {value} and another column's in place of {its name}.
    `name` is how the project file's `validation.severity` calls the rule; "" for rules that are always errors.
    """

    table: Table
    column: str
    says: str
    critical: bool = True
    allowed: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None
    name: str = ""

    def holds(self, value: Any) -> bool:
        """Return whether a cell keeps the rule."""
        if value is None:
            return True
        if self.allowed is not None:
            return value in self.allowed
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def reason(self, row: dict[str, Any]) -> str:
        """Return what to tell people about a row that breaks the rule."""
        said = self.says.replace("{value}", _shown(row.get(self.column)))
        for column, value in row.items():
            said = said.replace(f"{{{column}}}", _shown(value))
        return said


def scene_rules(project: ProjectConfig) -> list[Rule]:
    """Return the rules of the scene table, one row per scene."""
    limits = project.validation
    return _with_severity([*_pixel_rules(project), *_place_rules(project), *_use_rules(limits)], limits)


def annotation_rules(project: ProjectConfig) -> list[Rule]:
    """Return the rules of the annotation table, one row per polygon."""
    limits, classes = project.validation, ", ".join(project.classes)
    rules = [
        Rule("annotations", "class", f"has a polygon of class '{{value}}', known: {classes}", allowed=project.classes),
        Rule("annotations", "valid", "has a polygon that cannot be repaired", allowed=(True,)),
        Rule(
            "annotations",
            "area_px",
            f"has a polygon of {{value}} pixels, smaller than {limits.min_label_area_px:g}",
            critical=False,
            low=limits.min_label_area_px,
            name="label_size",
        ),
    ]
    if limits.label_area_m2 is not None:
        low, high = limits.label_area_m2
        says = f"has a polygon of {{value}} m², expected {low:g} to {high:g} (validation.label_area_m2)"
        rules.append(Rule("annotations", "area_m2", says, critical=False, low=low, high=high, name="label_area"))
    return _with_severity(rules, limits)


def broken(rules: list[Rule], row: dict[str, Any], critical: bool) -> list[str]:
    """Return the reasons of the rules that a row breaks."""
    checked = (rule for rule in rules if rule.critical is critical)
    return [rule.reason(row) for rule in checked if not rule.holds(row.get(rule.column))]


def canonical_crs(crs: str, key: str) -> str:
    """Return a CRS of the project file as the dataset writes it ("EPSG:<code>" where there is one).

    Raises:
        ConfigurationError: nobody knows such a CRS.
    """
    try:
        name = crs_name(CRS.from_user_input(crs))
    except CRSError as error:
        raise ConfigurationError(f"Project file: {key} {crs!r} is unknown; write it like EPSG:32636.") from error
    return name or crs


def _pixel_rules(project: ProjectConfig) -> list[Rule]:
    limits, bands = project.validation, ", ".join(project.bands)
    return [
        Rule(
            "scenes",
            "band_count",
            f"has {{value}} bands, expected {len(project.bands)} ({bands}); choose them with gdal_translate -b, or "
            "change 'bands' in the project file",
            allowed=(len(project.bands),),
        ),
        Rule(
            "scenes",
            "dtype",
            f"has pixels of type {{value}}, expected one of {', '.join(limits.dtypes)}; convert it with "
            "gdal_translate -ot, or change 'validation.dtypes' in the project file",
            allowed=limits.dtypes,
        ),
        Rule("scenes", "palette", "is a palette image; expand it with gdal_translate -expand rgb", allowed=(False,)),
        *_size_rules(limits),
        Rule(
            "scenes",
            "nodata_fraction",
            f"is nodata in a part of {{value}}, expected at most {limits.max_nodata_fraction} "
            "(validation.max_nodata_fraction)",
            high=limits.max_nodata_fraction,
        ),
        Rule("scenes", "infinite_pixels", "has {value} infinite pixel values; mend or mask them", high=0),
    ]


def _size_rules(limits: ValidationConfig) -> list[Rule]:
    rules = []
    for column, adjective in (("width", "wide"), ("height", "high")):
        least = f"is {{value}} px {adjective}, expected at least {limits.min_size_px} (validation.min_size_px)"
        rules.append(Rule("scenes", column, least, low=limits.min_size_px, name="size"))
        if limits.max_size_px is not None:
            most = (
                f"is {{value}} px {adjective}, expected at most {limits.max_size_px} (validation.max_size_px); tile it"
            )
            rules.append(Rule("scenes", column, most, high=limits.max_size_px, name="size"))
    return rules


def _place_rules(project: ProjectConfig) -> list[Rule]:
    """CRS and GSD: of the scene as it came, and as it is in the dataset."""
    limits = project.validation
    nowhere = "has a transform that puts it nowhere on Earth in its CRS; gdal_edit.py -a_srs and -a_ullr mend it"
    rules = [Rule("scenes", "placed", nowhere, allowed=(True,))]
    if limits.crs:
        expected = " or ".join(limits.crs)
        says = f"has the CRS {{value}}, expected {expected} (validation.crs); gdalwarp -t_srs changes it"
        allowed = tuple(canonical_crs(crs, "validation.crs") for crs in limits.crs)
        rules.append(Rule("scenes", "source_crs", says, allowed=allowed, name="crs"))
    if limits.gsd_range_m is not None:
        low, high = limits.gsd_range_m
        says = f"has a GSD of {{value}} m, expected {low:g} to {high:g} (validation.gsd_range_m)"
        rules.append(Rule("scenes", "source_gsd_m", says, low=low, high=high, name="gsd_range"))
    if project.gsd_m is not None:
        deviation = f"misses the project's GSD of {project.gsd_m} m by a part of {{value}}"
        rules.append(Rule("scenes", "gsd_deviation", deviation, high=GSD_TOLERANCE))
        coarse = (
            f"is {{value}} times coarser than the project's GSD of {project.gsd_m} m, expected at most "
            f"{limits.max_upsampling:g} times (validation.max_upsampling): most of its pixels would be invented"
        )
        rules.append(Rule("scenes", "upsampling", coarse, high=limits.max_upsampling))
    return rules


def _use_rules(limits: ValidationConfig) -> list[Rule]:
    """What makes a scene of little use, or of use twice."""
    return [
        Rule(
            "scenes",
            "black_fraction",
            "is black (0 in all bands) in a part of {value} without a nodata value; gdal_edit.py -a_nodata sets one",
            critical=False,
            high=limits.max_black_fraction,
            name="black",
        ),
        Rule("scenes", "contrast", "has the same value in all pixels", critical=False, low=1e-12, name="contrast"),
        Rule(
            "scenes",
            "labelled",
            "has no labels: it is used for prediction only",
            critical=False,
            allowed=(True,),
            name="labelled",
        ),
        Rule(
            "scenes",
            "same_file_as",
            "is the same file as scene '{value}', so its pixels count twice",
            critical=False,
            allowed=(),
            name="same_file",
        ),
        Rule(
            "scenes",
            "overlap",
            "shows the same ground as scene '{overlaps}' in a part of {value}, more than "
            f"{limits.max_overlap:g} (validation.max_overlap): its ground counts twice",
            critical=False,
            high=limits.max_overlap,
            name="same_ground",
        ),
    ]


def _with_severity(rules: list[Rule], limits: ValidationConfig) -> list[Rule]:
    asked: dict[str, str] = {str(name): severity for name, severity in limits.severity.items()}
    kept = [rule for rule in rules if asked.get(rule.name) != "off"]
    return [replace(rule, critical=asked[rule.name] == "error") if rule.name in asked else rule for rule in kept]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
