"""What two dataset versions do not share: scenes, and the polygons of each scene whose labels changed."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shapely import normalize, to_wkb

from satseg.annotations.table import read_table
from satseg.datasets.catalog import annotations_of, find_tag, read_items
from satseg.datasets.changes import Changes, changes_between
from satseg.datasets.repository import GitRepository
from satseg.storage.layout import Workspace

Polygons = Counter[tuple[str, bytes]]


@dataclass(frozen=True)
class LabelChange:
    """Polygons of one scene by class, None = unlabelled; and how many are only in one of the versions."""

    before: dict[str, int] | None
    after: dict[str, int] | None
    added: int
    removed: int


@dataclass(frozen=True)
class Difference:
    """What version `new` has that `old` has not, and the other way round."""

    old: str
    new: str
    scenes: Changes
    labels: dict[str, LabelChange]

    def plain(self) -> dict[str, Any]:
        """Return it for JSON: the lists of scenes, and `labels` by scene."""
        labels = {scene: asdict(change) for scene, change in self.labels.items()}
        return {"old": self.old, "new": self.new, **asdict(self.scenes), "labels": labels}


def difference(workspace: Workspace, project: str, old: str, new: str | None) -> Difference:
    """Compare two versions by checksums, and the labels of scenes in both by their polygons.

    Raises:
        NotFoundError: there is no such version.
        TemporaryError: an old annotation table is neither in DVC's cache nor at the remote.
    """
    repository = GitRepository(workspace.data)
    tags = find_tag(repository, project, old), find_tag(repository, project, new)
    before, after = (read_items(repository, project, tag.commit) for tag in tags)
    changes = changes_between(before, after)
    labels = {
        scene: _label_change(
            _polygons(annotations_of(workspace, tags[0], before[scene])),
            _polygons(annotations_of(workspace, tags[1], after[scene])),
        )
        for scene in changes.labels_changed
    }
    return Difference(tags[0].name, tags[1].name, changes, labels)


def _label_change(was: Polygons | None, now: Polygons | None) -> LabelChange:
    old, new = was or Counter(), now or Counter()
    return LabelChange(_by_class(was), _by_class(now), added=(new - old).total(), removed=(old - new).total())


def _by_class(polygons: Polygons | None) -> dict[str, int] | None:
    if polygons is None:
        return None
    counts: Counter[str] = Counter()
    for (name, _), count in polygons.items():
        counts[name] += count
    return dict(sorted(counts.items()))


def _polygons(table: Path | None) -> Polygons | None:
    if table is None:
        return None
    return Counter((polygon.class_name, to_wkb(normalize(polygon.geometry))) for polygon in read_table(table))
