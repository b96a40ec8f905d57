"""Make the previous champion champion again."""

from satseg.errors import NotFoundError
from satseg.registry.audit import AuditEntry, actor, champions, entries
from satseg.registry.stage_words import CHAMPION, PREVIOUS
from satseg.registry.swap import registry_lock, swap_champion
from satseg.stages import RegistryResult, RollbackSpec
from satseg.storage.layout import Workspace
from satseg.tracking.models import VersionRecord, model_folder, versions


def run(spec: RollbackSpec, workspace: Workspace) -> RegistryResult:
    """Undo the latest promotion: previous becomes champion, and previous is again the one before it.

    Raises:
        NotFoundError: there is no champion, or none before it.
        BadDataError: the previous champion's model files are gone.
    """
    name = spec.project.name
    with registry_lock(workspace, name) as finished:
        if finished is not None and finished.action == "rolled_back":
            return _result(name, finished)  # a killed rollback tried again must not go back two steps
        if (done := _done(workspace, spec)) is not None:
            return _result(name, done)
        known = versions(workspace, name)
        champion, previous = _holder(known, CHAMPION), _holder(known, PREVIOUS)
        if champion is None:
            raise NotFoundError(
                f"Project '{name}' has no champion to roll back. Promote a version with `satseg promote VERSION`."
            )
        if previous is None or previous.version == champion.version:
            raise NotFoundError(
                f"Champion v{champion.version} of '{name}' has no predecessor to return to. "
                "`satseg models list` shows the versions; promote one of them instead."
            )
        model_folder(workspace, previous.ref)
        entry = AuditEntry(
            who=actor(spec.by),
            action="rolled_back",
            from_version=champion.version,
            to_version=previous.version,
            reason=spec.reason,
            evidence={"request": spec.request} if spec.request else {},
        )
        log = [*entries(workspace.audit_log(name)), entry]
        earlier = [version for version in champions(log)[:-1] if version in {record.version for record in known}]
        swap_champion(workspace, name, entry, earlier[-1] if earlier else None)
    return _result(name, entry)


def _done(workspace: Workspace, spec: RollbackSpec) -> AuditEntry | None:
    if spec.request is None:
        return None
    log = entries(workspace.audit_log(spec.project.name))
    return next((entry for entry in log if entry.evidence.get("request") == spec.request), None)


def _result(project_name: str, entry: AuditEntry) -> RegistryResult:
    return RegistryResult(
        message=f"v{entry.to_version} of '{project_name}' is champion again; v{entry.from_version} is not.",
        version=entry.to_version,
        alias=CHAMPION,
        decision="rolled_back",
        previous=entry.from_version,
    )


def _holder(known: list[VersionRecord], alias: str) -> VersionRecord | None:
    return next((record for record in known if alias in record.aliases), None)
