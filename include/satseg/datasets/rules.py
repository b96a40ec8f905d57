"""What a scene and its annotations must be: one list of rules, from which Great Expectations gets its suite.

The same rules are asked before a scene is converted, so that no time goes into a scene that will be refused.
"""

from dataclasses import dataclass
from typing import Any, Literal

from satseg.config.project import ProjectConfig
from satseg.scenes.grid import GSD_TOLERANCE

Table = Literal["scenes", "annotations"]


@dataclass(frozen=True)
class Rule:
    """A column's allowed values: a set (`allowed`) or a closed range (`low`, `high`); empty cells pass.

    A broken critical rule quarantines the scene, a broken warning is reported. `says` is the reason, with the value
    in place of {value}.
    """

    table: Table
    column: str
    says: str
    critical: bool = True
    allowed: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None

    def holds(self, value: Any) -> bool:
        """Return whether a cell keeps the rule."""
        if value is None:
            return True
        if self.allowed is not None:
            return value in self.allowed
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def reason(self, value: Any) -> str:
        """Return what to tell people about a cell that breaks the rule."""
        return self.says.format(value=f"{value:.4g}" if isinstance(value, float) else value)


def scene_rules(project: ProjectConfig) -> list[Rule]:
    """Return the rules of the scene table, one row per scene."""
    limits, bands = project.validation, ", ".join(project.bands)
    side = limits.min_size_px
    rules = [
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
        Rule("scenes", "width", f"is {{value}} px wide, expected at least {side} (validation.min_size_px)", low=side),
        Rule("scenes", "height", f"is {{value}} px high, expected at least {side} (validation.min_size_px)", low=side),
        Rule(
            "scenes",
            "nodata_fraction",
            f"is nodata in a part of {{value}}, expected at most {limits.max_nodata_fraction} "
            "(validation.max_nodata_fraction)",
            high=limits.max_nodata_fraction,
        ),
        Rule("scenes", "infinite_pixels", "has {value} infinite pixel values; mend or mask them", high=0),
        Rule(
            "scenes",
            "black_fraction",
            "is black (0 in all bands) in a part of {value} without a nodata value; gdal_edit.py -a_nodata sets one",
            critical=False,
            high=0.2,
        ),
        Rule("scenes", "contrast", "has the same value in all pixels", critical=False, low=1e-12),
        Rule("scenes", "labelled", "has no labels: it is used for prediction only", critical=False, allowed=(True,)),
    ]
    if project.gsd_m is not None:
        deviation = f"misses the project's GSD of {project.gsd_m} m by a part of {{value}}"
        rules.append(Rule("scenes", "gsd_deviation", deviation, high=GSD_TOLERANCE))
    return rules


def annotation_rules(project: ProjectConfig) -> list[Rule]:
    """Return the rules of the annotation table, one row per polygon."""
    classes = ", ".join(project.classes)
    return [
        Rule("annotations", "class", f"has a polygon of class '{{value}}', known: {classes}", allowed=project.classes),
        Rule("annotations", "valid", "has a polygon that cannot be repaired", allowed=(True,)),
        Rule("annotations", "area_px", "has a polygon of {value} pixels, smaller than 4", critical=False, low=4.0),
    ]


def broken(rules: list[Rule], row: dict[str, Any], critical: bool) -> list[str]:
    """Return the reasons of the rules that a row breaks."""
    checked = (rule for rule in rules if rule.critical is critical)
    return [rule.reason(row.get(rule.column)) for rule in checked if not rule.holds(row.get(rule.column))]
