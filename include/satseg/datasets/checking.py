"""Which scenes of a drop can be used: reading and converting them, then Great Expectations over all of them."""

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affine import Affine

from satseg.config.project import ProjectConfig
from satseg.datasets import validation
from satseg.datasets.discovery import Discovery, SceneSource
from satseg.datasets.duplicates import find_duplicates
from satseg.datasets.names import is_text, one_line
from satseg.datasets.placement import is_placed
from satseg.datasets.preparation import Newest, Preparation, Prepared
from satseg.datasets.quarantine import Rejected
from satseg.datasets.rules import NO_CRS
from satseg.datasets.staging import RefusedByRulesError, is_large
from satseg.errors import BadDataError, SatsegError
from satseg.progress import say, track
from satseg.scenes.grid import Grid, gsd_of

# trouble of the machine, not of the scene that met it
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE}
_LONGEST_MESSAGE = 300


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
    large = [source for source in found.scenes if is_large(source)]
    if not large:
        preparation.before_conversion = loading.start
    refused_rows: list[dict[str, Any]] = []
    for source in track(found.scenes, "Converting scenes", len(found.scenes)):
        if large and source is large[-1]:  # until then large scenes need the memory for themselves
            preparation.after_writing = loading.start
        try:
            prepared = _prepared(preparation, source)
        except RefusedByRulesError as error:
            checked.rejected.append(_rejected(found, source, error.reasons))
            refused_rows.append({"scene": source.id, **error.row})
        except BadDataError as error:
            checked.rejected.append(_rejected(found, source, [str(error)]))
        else:
            checked.accepted.append(prepared)
            if newest.items.get(prepared.id) != prepared.item:
                checked.fresh.append(prepared)
    checked.warnings += preparation.unused_labels()
    if checked.fresh or refused_rows:
        loading.wait()
        _describe(checked.fresh, newest)
        _validate(checked, found, refused_rows, project, folder)
    for prepared in checked.accepted:
        checked.warnings += [f"{prepared.id}: {warning}" for warning in prepared.warnings]
    checked.warnings = [one_line(warning) for warning in checked.warnings]
    notes = [note for prepared in checked.fresh if (note := prepared.item["properties"]["satseg:gsd_note"])]
    if notes:
        say(f"note: {notes[0]}" + (f" (and {len(notes) - 1} scenes more)" if len(notes) > 1 else ""))
    return checked


def _prepared(preparation: Preparation, source: SceneSource) -> Prepared:
    """Prepare a scene; what a library throws at a broken file is a reason against that file alone.

    Raises:
        BadDataError: the scene cannot be used.
    """
    if strange := [path.name for path in source.files if not is_text(path)]:
        raise BadDataError(f"the name {one_line(strange[0])} is not UTF-8 text; rename the file")
    try:
        return preparation.prepare(source)
    except (SatsegError, NameError, ImportError):
        raise
    except OSError as error:
        if error.errno in _MACHINE or error.errno is None:
            raise
        named = f"{Path(error.filename).name} " if error.filename else ""
        raise BadDataError(f"{named}cannot be read: {error.strerror}; correct the link or the permissions") from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
        raise BadDataError(
            f"cannot be processed ({said}); if pixels, CRS and labels are sound, please report this as a defect"
        ) from error


def _describe(fresh: list[Prepared], newest: Newest) -> None:
    """Add the columns of the tables that come from the STAC items."""
    pixels = {p.id: p.item for p in fresh if _pixels(p.item) != _pixels(newest.items.get(p.id))}
    duplicates = find_duplicates(pixels, newest.items)
    for prepared in fresh:
        source = prepared.item["properties"]["satseg:source"]
        grid = Grid(source["width"], source["height"], Affine(*source["transform"]), source["crs"])
        prepared.row |= {"placed": is_placed(grid), "source_crs": grid.crs or NO_CRS}
        prepared.row["source_gsd_m"] = gsd_of(grid)
        if duplicate := duplicates.get(prepared.id):
            prepared.row |= vars(duplicate)
        gsd = prepared.item["properties"]["satseg:gsd_m"]
        for row in prepared.polygons:
            row["area_m2"] = None if gsd is None else row["area_px"] * gsd**2


def _pixels(item: dict[str, Any] | None) -> str | None:
    return None if item is None else item["properties"]["satseg:checksum"]


def _validate(
    checked: Checked, found: Discovery, refused: list[dict[str, Any]], project: ProjectConfig, folder: Path
) -> None:
    """Let Great Expectations judge what is new; a broken critical rule rejects the scene."""
    findings = validation.validate(
        project,
        [*refused, *(prepared.row for prepared in checked.fresh)],
        [row for prepared in checked.fresh for row in prepared.polygons],
        folder,
        {entry.id: entry.reasons for entry in checked.rejected},
    )
    sources = {source.id: source for source in found.scenes}
    for prepared in list(checked.fresh):
        prepared.warnings += findings.warnings.get(prepared.id, [])
        if reasons := findings.reasons.get(prepared.id):
            checked.fresh.remove(prepared)
            checked.accepted.remove(prepared)
            checked.rejected.append(_rejected(found, sources[prepared.id], reasons))


def _rejected(found: Discovery, source: SceneSource, reasons: list[str]) -> Rejected:
    # without the shared labels the scene would come back from quarantine unlabelled
    shared = source.shared_files if source.labels is None and source.raster is not None else ()
    said = tuple(one_line(reason) for reason in reasons)
    return Rejected(source.id, one_line(source.name_in(found.root)), source.files, said, shared)
