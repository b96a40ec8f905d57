"""Make a model again from what is recorded of it, and compare the weights.

Everything happens in a workspace of its own: the dataset is the original one, read as the run's version; patches are
cut and the training is run by the same commands a user would type, with the project as it was resolved then. A killed
reproduction is run again and goes on where it stopped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from satseg.config.project import ProjectConfig
from satseg.config.settings import settings
from satseg.errors import BadDataError, ConfigurationError, ExitCode, NotFoundError, TemporaryError
from satseg.lineage.weights import compare_weights
from satseg.models.interface import MODEL_FILE
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.patches.split_plan import PLAN_FILE
from satseg.progress import say
from satseg.stages import PatchResult, ReproduceResult, ReproduceSpec, TrainResult
from satseg.storage import leash
from satseg.storage.atomic import exclusive, write_text
from satseg.storage.layout import Workspace
from satseg.storage.leases import lease_file
from satseg.tracking.code_version import code_version
from satseg.tracking.models import ModelRef, model_folder, resolve_model
from satseg.tracking.runs import RunRecord, get_run, read_artifact

PROJECT_FILE = "project.yaml"
KEPT_SETTINGS = ("dvc_remote", "dvc_endpoint_url", "gpu_count", "cpu_slots")


def run(spec: ReproduceSpec, workspace: Workspace) -> ReproduceResult:
    """Check out the data of a run, cut its patches and train it again; say whether every weight is the same.

    Raises:
        NotFoundError: no such model, or the run does not say what it was made from.
        BadDataError: a step failed, or other patches came out; what it said stands above.
        TemporaryError: a step can be tried again, or somebody reproduces the same run.
    """
    ref = resolve_model(workspace, spec.project.name, spec.version)
    record = get_run(workspace, ref.run_id)
    project = recorded_project(workspace, record)
    scratch = Workspace(workspace.reproduction(record.id))
    with exclusive(workspace.lock(f"reproduce-{record.id}"), f"Reproducing run {record.id}", timeout_s=5):
        _prepare(workspace, scratch, project)
        patches = _patch(workspace, scratch, record)
        trained = _train(workspace, scratch, record, spec)
        result = _compare(workspace, scratch, ref, record, patches, trained)
        if not spec.keep:
            shutil.rmtree(scratch.root)
    return result.model_copy(update={"folder": str(scratch.root) if spec.keep else None})


def recorded_project(workspace: Workspace, record: RunRecord) -> ProjectConfig:
    """Return the project as the run used it.

    Raises:
        NotFoundError: the run does not hold it.
        ConfigurationError: it was written by a satseg whose project files are not understood any more.
    """
    text = read_artifact(workspace, record.id, PROJECT_FILE)
    try:
        return ProjectConfig.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The project file of run {record.id} is not understood by this satseg: {error}. "
            f"Use the one the run was trained by (git {record.tags.get('satseg.git_commit', 'unknown')})."
        ) from error


def _prepare(workspace: Workspace, scratch: Workspace, project: ProjectConfig) -> None:
    """Lay out the workspace: the same dataset, the same split plan, the project as it was."""
    scratch.root.mkdir(parents=True, exist_ok=True)
    if not scratch.data.is_symlink():
        scratch.data.symlink_to(workspace.data)
    plan = workspace.patches(project.name) / PLAN_FILE
    if plan.is_file() and not (scratch.patches(project.name) / PLAN_FILE).exists():
        write_text(scratch.patches(project.name) / PLAN_FILE, plan.read_text(encoding="utf-8"))
    tree = project.model_dump(mode="json")
    named = (("patches", "hard_negatives", workspace.root), ("patches", "split_file", workspace.root))
    for section, key, origin in (*named, ("training", "encoder_weights", Path.cwd())):
        given = tree[section][key]
        if given and (origin / given).is_file():  # paths that would lead elsewhere from the new workspace
            tree[section][key] = str(origin / given)
    write_text(scratch.root / PROJECT_FILE, yaml.safe_dump(tree, sort_keys=False))


def _patch(workspace: Workspace, scratch: Workspace, record: RunRecord) -> PatchResult:
    version, wanted = _tag(record, "satseg.dataset_version"), _tag(record, "satseg.patch_set")
    say(f"data {version}: checked out and cut into patches again ...")
    result = scratch.root / "patch.json"
    _satseg(workspace, scratch, ["patch", "--dataset-version", version], result)
    made = PatchResult.model_validate_json(result.read_bytes())
    if made.patch_set != wanted:
        raise BadDataError(
            f"Dataset {version} gives patch set {made.patch_set} now, not {wanted} as recorded: the split plan in "
            f"{workspace.patches(_tag(record, 'satseg.project'))} is not the one the run was trained with."
        )
    return made


def _train(workspace: Workspace, scratch: Workspace, record: RunRecord, spec: ReproduceSpec) -> TrainResult:
    start = _starting_file(workspace, record, spec.init_from)
    words = ["train", "--patch-set", _tag(record, "satseg.patch_set")]
    say("training again ...")
    result = scratch.root / "train.json"
    _satseg(workspace, scratch, [*words, *(["--init-from", str(start)] if start else [])], result)
    return TrainResult.model_validate_json(result.read_bytes())


def _starting_file(workspace: Workspace, record: RunRecord, given: Path | None) -> Path | None:
    origin = record.tags.get("satseg.init_from")
    if not origin:
        return None
    if origin.startswith("file:"):
        if given is None:
            raise NotFoundError(
                f"Run {record.id} started from a file with SHA-256 {origin.removeprefix('file:')}; "
                "give it with --init-from FILE."
            )
        return given.resolve()
    return model_folder(workspace, resolve_model(workspace, _tag(record, "satseg.project"), origin)) / MODEL_FILE


def _satseg(workspace: Workspace, scratch: Workspace, words: list[str], result: Path) -> None:
    """Run a command of satseg in the scratch workspace, with an MLflow of its own.

    Raises:
        TemporaryError: it can be tried again.
        BadDataError: it failed.
    """
    here = settings().model_dump(mode="json", include=set(KEPT_SETTINGS), exclude_none=True)
    environment = {name: value for name, value in os.environ.items() if name != "SATSEG_MLFLOW_URI"} | {
        **{f"SATSEG_{name.upper()}": str(value) for name, value in here.items()},
        "SATSEG_WORKSPACE": str(scratch.root),
        "SATSEG_LEASE_DIR": str(lease_file(workspace, "any").parent),
    }
    tied = [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid())]
    command = [*words, "--project", str(scratch.root / PROJECT_FILE), "--result", str(result)]
    done = subprocess.run(
        [*tied, sys.executable, "-m", "satseg", *command],
        cwd=scratch.root,  # not where an .env may name the real MLflow
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode < 0 or done.returncode == ExitCode.TEMPORARY:
        raise TemporaryError(f"`satseg {words[0]}` was stopped ({done.returncode}); run this again, it goes on there.")
    if done.returncode:
        raise BadDataError(f"`satseg {words[0]}` ended with exit code {done.returncode}; the reason stands above.")


def _compare(  # noqa: PLR0917 - what was and what came out
    workspace: Workspace,
    scratch: Workspace,
    ref: ModelRef,
    record: RunRecord,
    patches: PatchResult,
    trained: TrainResult,
) -> ReproduceResult:
    again = resolve_model(scratch, _tag(record, "satseg.project"), trained.run_id)
    count, difference = compare_weights(
        model_folder(workspace, ref) / MODEL_FILE, model_folder(scratch, again) / MODEL_FILE
    )
    code = code_version()
    same_code = code.commit == record.tags.get("satseg.git_commit") and not code.dirty
    words = f"all {count:,} weights are identical" if difference == 0 else f"weights differ by up to {difference:.3g}"
    return ReproduceResult(
        message=f"{ref.label} made again from {patches.dataset_version}, patch set {patches.patch_set}: {words}.",
        warnings=[] if same_code else [_other_code(record, code.commit)],
        run_id=ref.run_id,
        version=ref.version,
        identical=difference == 0,
        max_difference=difference,
        weights=count,
        dataset_version=patches.dataset_version,
        patch_set=patches.patch_set,
        patches_identical=_same_patches(workspace, scratch, _tag(record, "satseg.project"), patches.patch_set),
        same_code=same_code,
        val_iou=trained.val_iou,
    )


def _other_code(record: RunRecord, commit: str) -> str:
    then = record.tags.get("satseg.git_commit", "unknown")
    changed = " with uncommitted changes" if record.tags.get("satseg.git_dirty", "").lower() == "true" else ""
    return f"The run was trained by git {then}{changed}; this is {commit}, or differs from it."


def _same_patches(workspace: Workspace, scratch: Workspace, project: str, patch_set: str) -> bool | None:
    try:
        before = open_patch_set(workspace, project, patch_set)
    except NotFoundError:
        return None
    after = open_patch_set(scratch, project, patch_set)
    return before.description.shards == after.description.shards and all(
        _equal_shard(before, after, shard) for shard in range(len(after.description.shards))
    )


def _equal_shard(before: PatchSet, after: PatchSet, shard: int) -> bool:
    return all(
        np.array_equal(one, other)
        for one, other in (
            (before.images(shard), after.images(shard)),
            (before.masks(shard), after.masks(shard)),
        )
    )


def _tag(record: RunRecord, name: str) -> str:
    value = record.tags.get(name)
    if not value:
        raise NotFoundError(f"Run {record.id} does not say its {name}, so it cannot be made again.")
    return value
