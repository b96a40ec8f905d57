"""The stage `export`: a model version as a file for another engine, measured before it may be used."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd

from satseg.config.project import content_id
from satseg.errors import BadDataError, ConfigurationError
from satseg.evaluation.evaluate import misfit, patch_set_of
from satseg.models.engines import ENGINE_FILES, Engine, load_engine
from satseg.models.exports import exports, file_checksum, refused_report, store_export, write_parity
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, Segmenter
from satseg.models.parity import ParityReport
from satseg.patches.patchset import PatchSet
from satseg.progress import say
from satseg.serving.calibration import pixels_and_labels, spread
from satseg.serving.int8 import Int8Facts, int8_files
from satseg.serving.parity import Differences, compare, mean_iou, pace, processors
from satseg.stages import ExportResult, ExportSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace
from satseg.tracking.models import model_folder, resolve_model
from satseg.tracking.runs import get_run

SCHEMA = 2  # raise it when the same input gives another file


def run(spec: ExportSpec, workspace: Workspace) -> ExportResult:
    """Convert a version, compare it with the original on the test split, and keep it with the version if it passes.

    The same export is made once. A failed one leaves its report with the version's run, and no mark.

    Raises:
        ConfigurationError: the precision does not exist for the format, or the model is not registered.
        NotFoundError: no such version or patch set.
        BadDataError: nothing is held out to compare on, or model and patch set do not fit.
    """
    if spec.format == "onnx" and spec.precision != "float32":
        raise ConfigurationError(f"ONNX is exported as float32 only, not {spec.precision}; use --format tflite for it.")
    job = _plan(spec, workspace)
    name = f"export-{spec.project.name}-{job.version}"
    with exclusive(workspace.lock(name), f"The export of v{job.version}"):
        if not spec.force and (known := _known(spec, workspace, job)) is not None:
            return known
        with TemporaryDirectory(prefix="satseg-export-") as temp:
            folder = Path(temp)
            report = _make(spec, workspace, job, folder)
            write_parity(folder, report)
            store_export(workspace, spec.project.name, job.version, job.run_id, folder)
    return _result(spec, workspace, job, report, changed=True)


class _Job(NamedTuple):
    """What is exported, and what it is measured on."""

    version: str
    run_id: str
    folder: Path
    patch_set: PatchSet
    windows: pd.DataFrame  # test rows of the manifest
    kind: str  # such as tflite-int8
    key: str  # hash of all that goes in


def _plan(spec: ExportSpec, workspace: Workspace) -> _Job:
    ref = resolve_model(workspace, spec.project.name, spec.version)
    if ref.version is None:
        raise ConfigurationError(f"Run {ref.run_id} is not registered: run `satseg register {ref.run_id[:8]}` first.")
    patch_set = patch_set_of(workspace, spec.project, get_run(workspace, ref.run_id), spec.patch_set)
    windows = patch_set.windows("test")
    if windows.empty:
        raise BadDataError(
            f"Patch set {patch_set.id} has no test windows to compare the exported model on. "
            "Give another with --patch-set, or make patches.test_fraction larger and run `satseg patch` again."
        )
    kind, inference = f"{spec.format}-{spec.precision}", spec.project.inference
    calibration = [spec.calibration_windows] if spec.precision == "int8" else []
    settings = [kind, inference.threshold, inference.batch_size, *calibration]
    key = content_id(SCHEMA, ref.run_id, patch_set.id, settings)
    return _Job(ref.version, ref.run_id, model_folder(workspace, ref), patch_set, windows, kind, key)


def _known(spec: ExportSpec, workspace: Workspace, job: _Job) -> ExportResult | None:
    stored = [export.report for export in exports(workspace, spec.project.name, job.version)]
    refused = refused_report(workspace, job.run_id, job.kind, job.key)
    for report in (*stored, *([refused] if refused else [])):
        if report.kind == job.kind and report.key == job.key:
            say(f"v{job.version} was exported to {job.kind} already; --force does it again.")
            return _result(spec, workspace, job, report, changed=False)
    return None


def _make(spec: ExportSpec, workspace: Workspace, job: _Job, folder: Path) -> ParityReport:
    original = load_engine(job.folder, "tf")
    if (reason := misfit(original.description, job.patch_set)) is not None:
        raise BadDataError(f"v{job.version} cannot be measured: {reason}. Give a patch set that fits with --patch-set.")
    (folder / DESCRIPTION_FILE).write_bytes((job.folder / DESCRIPTION_FILE).read_bytes())
    engine = _engine(spec)
    target = folder / ENGINE_FILES[engine]
    threshold, batch = spec.project.inference.threshold, spec.project.inference.batch_size
    say(f"v{job.version}: converting to {job.kind}")
    for int8 in _converted(spec, job, original, target):
        exported = load_engine(folder, engine)
        found = compare(original, exported, job.patch_set, job.windows, threshold=threshold, batch=batch)
        report = _report(spec, job, target, found).model_copy(update=int8._asdict())
        if report.passed:
            break
        say(f"{job.kind}: {'; '.join(report.failures())}")
    images, _ = pixels_and_labels(job.patch_set, job.windows.head(batch))
    return report.model_copy(update=pace(original, exported, images)._asdict())


def _report(spec: ExportSpec, job: _Job, target: Path, found: Differences) -> ParityReport:
    return ParityReport(
        key=job.key,
        format=spec.format,
        precision=spec.precision,
        file=target.name,
        sha256=file_checksum(target),
        size_bytes=target.stat().st_size,
        original_bytes=(job.folder / MODEL_FILE).stat().st_size,
        patch_set=job.patch_set.id,
        windows=len(job.windows),
        pixels=found.pixels,
        max_difference=found.largest,
        mean_difference=found.total / max(found.values, 1),
        flipped_fraction=found.flipped / max(found.pixels, 1),
        iou=mean_iou(found.exported),
        iou_original=mean_iou(found.original),
        latency_ms=0.0,  # measured of the file that is kept
        latency_original_ms=0.0,
        speedup=0.0,
        processors=processors(),
        made_at=datetime.now(UTC),
    )


def _engine(spec: ExportSpec) -> Engine:
    if spec.format == "onnx":
        return "onnx"
    return "litert_int8" if spec.precision == "int8" else "litert"


def _converted(spec: ExportSpec, job: _Job, original: Segmenter, target: Path) -> Iterator[Int8Facts]:
    """Write the file at `target`; of int8 one after the other, until the caller is content."""
    from satseg.models.keras import export  # TensorFlow: seconds

    if spec.precision == "int8":
        train = spread(job.patch_set.windows("train"), spec.calibration_windows, spec.project.patches.seed)
        calibration, _ = pixels_and_labels(job.patch_set, train)
        say(f"calibrating with {len(calibration)} windows")
        quantiser = export.int8_quantiser(job.folder, calibration)
        for in_float in int8_files(quantiser, target, job.patch_set, original, spec.project):
            yield Int8Facts(len(calibration), in_float, quantiser.operations)
        return
    if spec.format == "onnx":
        export.write_onnx(job.folder, target)
    else:
        export.write_tflite(job.folder, target, half=spec.precision == "float16")
    yield Int8Facts()


def _result(spec: ExportSpec, workspace: Workspace, job: _Job, report: ParityReport, changed: bool) -> ExportResult:
    marked = [item for item in exports(workspace, spec.project.name, job.version) if item.report.kind == report.kind]
    exported = report.passed and bool(marked)
    figures = (
        f"IoU {report.iou:.4f} (original {report.iou_original:.4f}), {report.size_bytes / 2**20:.1f} MiB, "
        f"{report.speedup:.2f}x the speed of TensorFlow"
    )
    verdict = "exported" if exported else f"NOT exported: {'; '.join(report.failures())}"
    return ExportResult(
        message=f"v{job.version} to {report.kind}: {verdict}. {figures}.",
        version=job.version,
        engine=report.engine,
        exported=exported,
        file=str(marked[0].folder / report.file) if exported else None,
        failures=report.failures(),
        parity=report.model_dump(mode="json"),
        changed=changed,
    )
