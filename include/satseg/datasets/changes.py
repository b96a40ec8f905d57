"""What two states of a dataset do not share, by the checksums in their STAC items."""

from dataclasses import dataclass
from typing import Any

from satseg.datasets.catalog import content_of

Items = dict[str, dict[str, Any]]
_NAMED = 10  # scenes in the first line of a version's message


@dataclass(frozen=True)
class Changes:
    """Scene ids, sorted; `metadata_changed` are those of which only what the item says differs."""

    added: list[str]
    removed: list[str]
    pixels_changed: list[str]
    labels_changed: list[str]
    metadata_changed: list[str]

    @property
    def message(self) -> str:
        """One line, a blank one, and every scene by what happened to it: the annotation of a version's tag."""
        changed = sorted({*self.pixels_changed, *self.labels_changed, *self.metadata_changed})
        counted = (("added", self.added), ("changed", changed), ("removed", self.removed))
        counts = ", ".join(f"{len(scenes)} {what}" for what, scenes in counted if scenes)
        named = [*self.added, *changed, *self.removed]
        first = f"{counts} ({', '.join(named[:_NAMED])}{', …' if len(named) > _NAMED else ''})"
        details = [f"{kind.replace('_', ' ')}: {scene}" for kind, scenes in vars(self).items() for scene in scenes]
        return "\n".join([first, "", *details])


def changes_between(before: Items, after: Items) -> Changes:
    """Compare two states of a dataset."""
    both = sorted(before.keys() & after.keys())
    contents = {scene: (content_of(before[scene]), content_of(after[scene])) for scene in both}
    pixels = [scene for scene, (was, now) in contents.items() if was[0] != now[0]]
    labels = [scene for scene, (was, now) in contents.items() if was[1] != now[1]]
    return Changes(
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        pixels_changed=pixels,
        labels_changed=labels,
        metadata_changed=[s for s in both if before[s] != after[s] and s not in pixels and s not in labels],
    )
