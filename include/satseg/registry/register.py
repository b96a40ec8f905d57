"""Make a run a version of the project's registered model, as challenger; a run is registered once."""

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError
from satseg.evaluation.evaluate import read_description
from satseg.evaluation.report import read_report
from satseg.registry.audit import AuditEntry, actor, append
from satseg.registry.card import model_card, version_tags
from satseg.registry.stage_words import CHALLENGER, CHAMPION, sync_stage_tags
from satseg.registry.swap import DECISION_TAG, record_decision, registry_lock
from satseg.stages import RegisterSpec, RegistryResult
from satseg.storage.layout import Workspace
from satseg.tracking.models import (
    ModelRef,
    VersionRecord,
    alias_version,
    create_version,
    resolve_model,
    set_alias,
    versions,
)
from satseg.tracking.runs import RunRecord, get_run


def run(spec: RegisterSpec, workspace: Workspace) -> RegistryResult:
    """Register a finished run and point the alias challenger at it.

    A run that is registered already keeps its version and the aliases stay where they are. What a killed process left
    half done is completed.

    Raises:
        NotFoundError: no such run.
        BadDataError: the run did not finish, or it has no model.
    """
    name = spec.project.name
    ref = resolve_model(workspace, name, spec.run)
    record = get_run(workspace, ref.run_id)
    _require_model(workspace, name, ref, record)
    with registry_lock(workspace, name):
        champion = alias_version(workspace, name, CHAMPION)
        known = _version_of(workspace, name, record.id)
        if known is not None and DECISION_TAG in known.tags:
            return RegistryResult(
                message=f"Run {record.id} is v{known.version} of '{name}' already.",
                version=known.version,
                alias=known.aliases[0] if known.aliases else None,
                decision="unchanged",
                previous=champion,
            )
        version = known.version if known else _create(spec.project, workspace, record)
        set_alias(workspace, name, CHALLENGER, version)
        sync_stage_tags(workspace, name)
        entry = AuditEntry(
            id=f"registered-{record.id}",  # registering again after a kill adds no second line
            who=actor(),
            action="registered",
            from_version=champion,
            to_version=version,
            evidence={"run_id": record.id},
        )
        append(workspace.audit_log(name), entry)
        record_decision(workspace, name, version, entry)  # last: the mark that nothing is left to do
    return RegistryResult(
        message=f"Run {record.id} is v{version} of '{name}', challenger.",
        version=version,
        alias=CHALLENGER,
        decision="registered",
        previous=champion,
    )


def _require_model(workspace: Workspace, project_name: str, ref: ModelRef, record: RunRecord) -> None:
    if record.status != "FINISHED":
        raise BadDataError(
            f"Run {record.id} is {record.status}, not FINISHED: only a finished training can be registered. "
            "Run `satseg train` again; it goes on where it stopped."
        )
    description = read_description(workspace, ref)
    if description.project != project_name:
        raise BadDataError(
            f"Run {record.id} is a model of project '{description.project}', not of '{project_name}'. "
            f"Register it with: satseg register {record.id} -p {description.project}"
        )


def _version_of(workspace: Workspace, project_name: str, run_id: str) -> VersionRecord | None:
    return next((known for known in versions(workspace, project_name) if known.run_id == run_id), None)


def _create(project: ProjectConfig, workspace: Workspace, record: RunRecord) -> str:
    patch_set = record.tags.get("satseg.patch_set", "")
    report = read_report(workspace, project.name, record.id, patch_set) if patch_set else None
    card = model_card(workspace, project, record, report.result if report else None)
    return create_version(workspace, project.name, record.id, version_tags(record), card)
