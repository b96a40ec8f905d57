"""Great Expectations over the scene table and the annotation table: suite from the rules, results, Data Docs.

The one module that imports Great Expectations, which takes seconds: `Loading` does it beside the conversion.
"""

import importlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from satseg.config.project import ProjectConfig
from satseg.datasets.data_docs import make_offline
from satseg.datasets.rules import Rule, annotation_rules, scene_rules
from satseg.storage.atomic import replacing_directory, write_json

SCENE_COLUMNS = (
    "scene", "band_count", "dtype", "palette", "width", "height", "nodata_fraction", "black_fraction",
    "infinite_pixels", "contrast", "placed", "source_crs", "source_gsd_m", "gsd_deviation", "upsampling", "labelled",
    "same_file_as", "overlap", "overlaps",
)  # fmt: skip
ANNOTATION_COLUMNS = ("scene", "polygon", "class", "valid", "area_px", "area_m2")


@dataclass
class Findings:
    """Broken rules by scene: critical ones are reasons for quarantine."""

    reasons: dict[str, list[str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)


class Loading:
    """The import of Great Expectations in the background, where it costs little while rasters are converted."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=_library, name="load-great-expectations", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin, unless begun."""
        if not self._started:
            self._started = True
            self._thread.start()

    def wait(self) -> None:
        """Wait for the end, so that no other import meets a half-loaded library."""
        if self._started:
            self._thread.join()


def validate(
    project: ProjectConfig,
    scenes: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    folder: Path,
    refused: Mapping[str, Sequence[str]] | None = None,
) -> Findings:
    """Check both tables, and write results.json and Data Docs (data_docs/index.html) below `folder`.

    Args:
        project: gives the rules.
        scenes: rows with SCENE_COLUMNS; missing cells pass.
        annotations: rows with ANNOTATION_COLUMNS.
        folder: the project's validation folder.
        refused: scene to why it could not even be read; the Data Docs list it with the others.

    Raises:
        RuntimeError: an expectation could not be computed, which is a defect of satseg.
    """
    tables = (
        ("scenes", scenes, SCENE_COLUMNS, scene_rules(project)),
        ("annotations", annotations, ANNOTATION_COLUMNS, annotation_rules(project)),
    )
    import pandas as pd

    findings = Findings()
    results = {}
    with replacing_directory(folder / "data_docs") as docs:
        context = _context(docs)
        for name, rows, columns, rules in tables:
            if not rows:
                continue  # an empty table would pass everything
            cells = [{column: row.get(column) for column in columns} for row in rows]
            outcome = _run(context, name, pd.DataFrame(cells, dtype=object), rules)
            results[name] = outcome.to_json_dict()
            _collect(outcome, rows, rules, findings)
        context.build_data_docs()
        kept = {name: bool(result["success"]) for name, result in results.items()}
        make_offline(docs, project.name, kept, {**(refused or {}), **findings.reasons}, findings.warnings)
    write_json(folder / "results.json", results)
    return findings


def _library() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    return importlib.import_module("great_expectations")


def _context(docs: Path) -> Any:
    gx = _library()
    context = gx.get_context(mode="ephemeral")
    configuration = importlib.import_module("great_expectations.data_context.types.base")
    context.variables.progress_bars = configuration.ProgressBarsConfig(globally=False)
    context.delete_data_docs_site("local_site")  # the one in the system's temp folder
    context.add_data_docs_site(
        "satseg",
        {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        },
    )
    return context


def _run(context: Any, name: str, frame: Any, rules: list[Rule]) -> Any:
    gx = _library()
    batches = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    expectations = [_expectation(number, rule) for number, rule in enumerate(rules)]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batches, suite=suite))
    return definition.run(batch_parameters={"dataframe": frame}, result_format="COMPLETE")


def _collect(outcome: Any, rows: list[dict[str, Any]], rules: list[Rule], findings: Findings) -> None:
    for result in outcome.results:
        rule = rules[result.expectation_config.meta["rule"]]
        if any(entry.get("raised_exception") for entry in _exceptions(result)):
            raise RuntimeError(f"expectation on {rule.table}.{rule.column} failed: {result.exception_info}")
        for row in result.result.get("unexpected_index_list") or []:
            _note(findings, rule, rows[row])


def _exceptions(result: Any) -> list[dict[str, Any]]:
    info = result.exception_info or {}
    return [info] if "raised_exception" in info else list(info.values())


def _note(findings: Findings, rule: Rule, row: dict[str, Any]) -> None:
    where = findings.reasons if rule.critical else findings.warnings
    said = where.setdefault(row["scene"], [])
    reason = rule.reason(row)
    if reason not in said:
        said.append(reason)


def _expectation(number: int, rule: Rule) -> Any:
    gx = _library()
    common = {
        "column": rule.column,
        "severity": "critical" if rule.critical else "warning",
        "meta": {"notes": rule.says, "rule": number},
    }
    if rule.allowed == ():
        return gx.expectations.ExpectColumnValuesToBeNull(**common)
    if rule.allowed is not None:
        return gx.expectations.ExpectColumnValuesToBeInSet(value_set=list(rule.allowed), **common)
    return gx.expectations.ExpectColumnValuesToBeBetween(min_value=rule.low, max_value=rule.high, **common)
