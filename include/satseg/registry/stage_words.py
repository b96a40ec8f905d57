"""MLflow's former stage words as tag `stage`, for people who think in them; kept in step with the aliases."""

from collections.abc import Iterable

from satseg.storage.layout import Workspace
from satseg.tracking.models import set_version_tags, versions

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
STAGE_TAG = "stage"


def stage_word(aliases: Iterable[str], was_champion: bool) -> str:
    """Return Production for the champion, Staging for the challenger, Archived for former champions, else None."""
    held = set(aliases)
    if CHAMPION in held:
        return "Production"
    if CHALLENGER in held:
        return "Staging"
    return "Archived" if PREVIOUS in held or was_champion else "None"


def sync_stage_tags(workspace: Workspace, project_name: str) -> None:
    """Set the stage tag of every version whose aliases say something else. Call it holding the registry's lock."""
    for record in versions(workspace, project_name):
        current = record.tags.get(STAGE_TAG)
        word = stage_word(record.aliases, was_champion=current in ("Production", "Archived"))
        if word != current:
            set_version_tags(workspace, project_name, record.version, {STAGE_TAG: word})
