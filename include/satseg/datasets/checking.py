"""Which scenes of a drop can be used: reading and converting them, then Great Expectations over all of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from satseg.config.project import ProjectConfig
from satseg.datasets import validation
from satseg.datasets.discovery import Discovery, SceneSource
from satseg.datasets.preparation import Newest, Preparation, Prepared
from satseg.datasets.quarantine import Rejected
from satseg.datasets.staging import RefusedByRulesError
from satseg.errors import BadDataError
from satseg.progress import say, track


@dataclass
class Checked:
    """The scenes of a drop after all checks; `fresh` are the accepted ones that change the dataset."""

    accepted: list[Prepared] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    fresh: list[Prepared] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(found: Discovery, preparation: Preparation, project: ProjectConfig, newest: Newest, folder: Path) -> Checked:
    """Prepare every scene of a drop and sort them into accepted and rejected; one bad scene never stops the others.

    Args:
        found: the drop.
        preparation: stages the scenes.
        project: gives the rules.
        newest: the version before this ingest.
        folder: takes the validation results.
    """
    checked = Checked(warnings=list(found.warnings))
    loading = validation.Loading()
    preparation.before_conversion = loading.start
    refused_rows: list[dict[str, Any]] = []
    for source in track(found.scenes, "Converting scenes", len(found.scenes)):
        try:
            prepared = preparation.prepare(source)
        except RefusedByRulesError as error:
            checked.rejected.append(_rejected(source, error.reasons))
            refused_rows.append({"scene": source.id, **error.row})
        except BadDataError as error:
            checked.rejected.append(_rejected(source, [str(error)]))
        else:
            checked.accepted.append(prepared)
            if newest.items.get(prepared.id) != prepared.item:
                checked.fresh.append(prepared)
    checked.warnings += preparation.unused_labels()
    if checked.fresh or refused_rows:
        loading.wait()
        _validate(checked, found, refused_rows, project, folder)
    for prepared in checked.accepted:
        checked.warnings += [f"{prepared.id}: {warning}" for warning in prepared.warnings]
    checked.warnings += _twins(checked.accepted, newest.items)
    notes = [note for prepared in checked.fresh if (note := prepared.item["properties"]["satseg:gsd_note"])]
    if notes:
        say(f"note: {notes[0]}" + (f" (and {len(notes) - 1} scenes more)" if len(notes) > 1 else ""))
    return checked


def _validate(
    checked: Checked, found: Discovery, refused: list[dict[str, Any]], project: ProjectConfig, folder: Path
) -> None:
    """Let Great Expectations judge what is new; a broken critical rule rejects the scene."""
    findings = validation.validate(
        project,
        [*refused, *(prepared.row for prepared in checked.fresh)],
        [row for prepared in checked.fresh for row in prepared.polygons],
        folder,
    )
    sources = {source.id: source for source in found.scenes}
    for prepared in list(checked.fresh):
        prepared.warnings += findings.warnings.get(prepared.id, [])
        if reasons := findings.reasons.get(prepared.id):
            checked.fresh.remove(prepared)
            checked.accepted.remove(prepared)
            checked.rejected.append(_rejected(sources[prepared.id], reasons))


def _twins(accepted: list[Prepared], items: dict[str, dict[str, Any]]) -> list[str]:
    """Return a warning for each scene whose source is byte for byte that of another scene."""
    known = {item["properties"]["satseg:source"]["checksum"]: scene for scene, item in sorted(items.items())}
    said = []
    for prepared in accepted:
        checksum = prepared.item["properties"]["satseg:source"]["checksum"]
        first = known.setdefault(checksum, prepared.id)
        if first != prepared.id:
            said.append(f"{prepared.id}: is the same file as scene '{first}', so its pixels count twice")
    return said


def _rejected(source: SceneSource, reasons: list[str]) -> Rejected:
    return Rejected(source.id, source.name, source.files, tuple(reasons))
