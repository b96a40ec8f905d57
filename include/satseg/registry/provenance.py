"""Whether a model can be traced to its data and its code, and its data may be used."""

from satseg.config.operation import PromotionConfig
from satseg.datasets.catalog import list_versions
from satseg.patches.patchset import is_complete
from satseg.stages import Gate
from satseg.storage.layout import Workspace
from satseg.tracking.runs import RunRecord


def provenance(workspace: Workspace, project_name: str, record: RunRecord, rules: PromotionConfig) -> Gate:
    """The run says what it was made from, and that is still there; code and licence as the project asks.

    Dataset version and patch set must be recorded and exist. Uncommitted code and an unstated licence are named, and
    fail the gate where the project says so.
    """
    tag = record.tags.get
    wrong, said = [], []
    version, patch_set = tag("satseg.dataset_version"), tag("satseg.patch_set")
    if not version:
        wrong.append("the run does not say which dataset version it learnt from")
    elif version not in list_versions(workspace, project_name):
        wrong.append(f"dataset version {version} is not in {workspace.data}")
    if not patch_set:
        wrong.append("the run does not say which patch set it learnt from")
    elif not is_complete(workspace, project_name, patch_set):
        said.append(f"patch set {patch_set} is gone (it can be cut again)")
    (wrong if rules.require_committed_code else said).extend(_about_code(record))
    if not rules.licence:
        (wrong if rules.require_licence else said).append("no licence of the data is stated (promotion.licence)")
    chain = (
        f"run {record.id[:12]} from patch set {patch_set} of dataset {version}, licence {rules.licence or 'unknown'}"
    )
    return Gate(
        name="lineage_and_licence",
        passed=not wrong,
        value=None,
        bound=None,
        evidence="; ".join([*wrong, *said] if wrong else [chain, *said]),
    )


def _about_code(record: RunRecord) -> list[str]:
    commit = record.tags.get("satseg.git_commit")
    if commit in {None, "", "unknown"}:
        return ["the code is in no git commit that is known"]
    if record.tags.get("satseg.git_dirty", "").lower() == "true":
        return [f"the code differed from git commit {commit[:12] if commit else ''}"]
    return []
