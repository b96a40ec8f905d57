"""The exports of a model version, and the fastest engine among those that passed their parity."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from satseg.errors import BadDataError, NotFoundError
from satseg.models.engines import ENGINES, Engine, load_engine
from satseg.models.interface import Segmenter
from satseg.models.parity import ParityReport
from satseg.progress import say
from satseg.storage.atomic import write_text
from satseg.storage.devices import gpus
from satseg.storage.layout import Workspace

REPORT_FILE = "parity.json"


@dataclass(frozen=True)
class StoredExport:
    """An exported model that may take the original's place."""

    report: ParityReport
    folder: Path  # model.json, parity.json and the engine's file


@dataclass(frozen=True)
class EngineChoice:
    """What runs a model: the engine, the folder of its files, and the export's parity (None for the original)."""

    engine: Engine
    folder: Path
    report: ParityReport | None = None

    def load(self, threads: int | None = None) -> Segmenter:
        """Load the model; see `load_engine`."""
        return load_engine(self.folder, self.engine, threads=threads)

    @property
    def name(self) -> str:
        """What a prediction is recorded with: `tf`, or engine, precision and the beginning of the file's checksum."""
        if self.report is None:
            return self.engine
        return f"{self.engine} ({self.report.precision}, {self.report.sha256[:12]})"


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def store_export(workspace: Workspace, project: str, version: str, run_id: str, folder: Path) -> ParityReport:
    """Keep an export with its version, and mark the version when its parity passed, else take the mark away.

    Of an export that failed only the report is kept.

    Args:
        workspace: whose MLflow holds the version.
        project: name of the registered model.
        version: number.
        run_id: of the version.
        folder: parity.json, model.json and the engine's file.

    Raises:
        BadDataError: parity.json is missing, or is about another file.
    """
    from satseg.tracking.exports import remove_export_tag, set_export_tag, store_files

    report = read_parity(folder)
    if report.passed:
        _check_file(folder, report)
        artifacts = f"exports/{report.kind}/{report.sha256[:12]}-{report.key}"  # never written twice while it is read
        store_files(workspace, run_id, folder, artifacts)
        set_export_tag(workspace, project, version, report.kind, artifacts)
        return report
    remove_export_tag(workspace, project, version, report.kind)
    (folder / report.file).unlink(missing_ok=True)
    store_files(workspace, run_id, folder, f"exports/{report.kind}/refused-{report.key}")
    return report


def write_parity(folder: Path, report: ParityReport) -> None:
    """Write parity.json."""
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")


def read_parity(folder: Path) -> ParityReport:
    """Read parity.json of an export.

    Raises:
        BadDataError: it is missing or broken.
    """
    path = folder / REPORT_FILE
    try:
        return ParityReport.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BadDataError(f"{path} is no parity report ({type(error).__name__}). Export the model again.") from error


def _check_file(folder: Path, report: ParityReport) -> None:
    path = folder / report.file
    if not path.is_file() or file_checksum(path) != report.sha256:
        raise BadDataError(f"{path} is not the file that {REPORT_FILE} is about. Export the model again.")


def exports(workspace: Workspace, project: str, version: str) -> list[StoredExport]:
    """Return the exports a version is marked with, fastest first.

    A mark counts for nothing by itself: an export whose report is missing, says failed or is about another file is
    named on stderr and left out.
    """
    from satseg.tracking.exports import export_tags, stored_files
    from satseg.tracking.models import resolve_model

    run_id = resolve_model(workspace, project, version).run_id
    found = []
    for kind, artifacts in export_tags(workspace, project, version).items():
        try:
            folder = stored_files(workspace, run_id, artifacts)
            if folder is None:
                raise BadDataError(f"its files are gone from {artifacts}")
            report = read_parity(folder)
            _check_file(folder, report)
            if not report.passed:
                raise BadDataError("; ".join(report.failures()))
            found.append(StoredExport(report, folder))
        except (BadDataError, OSError) as error:
            say(f"v{version} is marked as exported to {kind}, but it cannot be used: {error}")
    return sorted(found, key=lambda export: -export.report.speedup)


def refused_report(workspace: Workspace, run_id: str, kind: str, key: str) -> ParityReport | None:
    """Return the report of an export that failed, None when the same was not tried."""
    from satseg.tracking.exports import stored_files

    folder = stored_files(workspace, run_id, f"exports/{kind}/refused-{key}")
    return None if folder is None else read_parity(folder)


def choose_engine(
    workspace: Workspace, project: str, version: str | None, original: Path, wanted: str = "auto"
) -> EngineChoice:
    """Return what runs a model: the engine asked for, or with "auto" the fastest one.

    Args:
        workspace: whose MLflow holds the version.
        project: name of the registered model.
        version: number; None for a run that is not registered, which has no exports.
        original: the model's folder with model.keras and model.json.
        wanted: "auto" or an engine.

    Raises:
        NotFoundError: the version has no export for the engine asked for.
    """
    if wanted == "auto":
        return best_engine(workspace, project, version, original)
    if wanted == "tf":
        return EngineChoice("tf", original)
    if wanted not in ENGINES:
        raise NotFoundError(f"There is no engine '{wanted}'; there are auto, {', '.join(ENGINES)}.")
    for export in exports(workspace, project, version) if version else []:
        if export.report.engine == wanted:
            return EngineChoice(wanted, export.folder, export.report)
    which = "--format onnx" if wanted == "onnx" else "--format tflite"
    precision = " --precision int8" if wanted == "litert_int8" else ""
    raise NotFoundError(
        f"Model {f'v{version}' if version else original} has no export for engine '{wanted}' that passed its parity. "
        f"Make one with: satseg export {version or 'VERSION'} {which}{precision}, or set the engine to auto."
    )


def best_engine(workspace: Workspace, project: str, version: str | None, original: Path) -> EngineChoice:
    """Return the fastest engine whose stored parity passed, otherwise TensorFlow, which also gets the GPUs."""
    if version is not None and not gpus():
        for export in exports(workspace, project, version):
            if export.report.speedup > 1.0:
                return EngineChoice(export.report.engine, export.folder, export.report)
    return EngineChoice("tf", original)
