"""A month of simulated nights: two tiny towns arrive each day; twice, for some days, they look otherwise.

The scenes are ingested with the time of their day (`SATSEG_INGEST_TIME`), so that the nightly schedule finds them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
import shapely
from shapely.geometry import Polygon, box

from satseg.config.project import ProjectConfig
from satseg.config.settings import settings
from satseg.datasets import ingest
from satseg.datasets.demo_changes import Change, Look
from satseg.datasets.demo_scenes import SceneSet, write_scenes
from satseg.stages import IngestResult, IngestSpec
from satseg.storage.layout import Workspace

SIZE_PX = 256
REFERENCE = SceneSet(count=12, size_px=SIZE_PX, seed=1, prefix="first")
HAZE = Look(change=Change(haze=0.7, gain=0.7))
BLUR = Look(change=Change(blur_px=3.0, gain=1.3))
# the only month of the schedule, so that its last night is the newest one there ever is
CRON = "0 2 * 3 *"


@dataclass(frozen=True)
class Month:
    """How many nights there are, and in which of them (from 1) the towns look otherwise."""

    count: int
    haze: tuple[int, int]
    blur: tuple[int, int]

    @property
    def nights(self) -> list[str]:
        """The last nights of the latest March that is over, which the schedule has to end with."""
        today = datetime.now(UTC).date()
        year = today.year if today.month > 3 else today.year - 1
        last = date(year, 3, 30)
        return [(last - timedelta(days=back)).isoformat() for back in range(self.count)][::-1]

    def night(self, number: int) -> str:
        """Return the date of a night by its number."""
        return self.nights[number - 1]

    def look(self, number: int) -> Look:
        """Return how the towns of a night look."""
        hazy, blurred = (first <= number <= last for first, last in (self.haze, self.blur))
        return HAZE if hazy else BLUR if blurred else Look()


WHOLE = Month(30, haze=(11, 16), blur=(24, 28))
SHORT = Month(10, haze=(5, 6), blur=(9, 10))


@contextmanager
def time_of_ingest(moment: datetime) -> Iterator[None]:
    """Ingest at another time than now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SATSEG_INGEST_TIME", moment.isoformat())
        settings.cache_clear()
        yield
    settings.cache_clear()


def arrive(workspace: Workspace, project: ProjectConfig, folder: Path, moment: datetime) -> IngestResult:
    """Ingest a folder as if it were another time."""
    with time_of_ingest(moment):
        return ingest.run(IngestSpec(project=project, source=folder), workspace)


def reference_arrives(workspace: Workspace, project: ProjectConfig, made: Path, month: Month) -> None:
    """Ingest the labelled scenes that the first champion learns from, before the first night begins."""
    write_scenes(made / "reference", REFERENCE)
    arrive(workspace, project, made / "reference", datetime.fromisoformat(month.night(1)).replace(tzinfo=UTC))


def night_arrives(workspace: Workspace, project: ProjectConfig, made: Path, month: Month, number: int) -> None:
    """Ingest the scenes of a night, without labels; their labels wait in `made` / labels."""
    night = month.night(number)
    scenes = SceneSet(2, SIZE_PX, 100 + number, prefix=f"n{number:02d}", look=month.look(number))
    folder, labels = made / night, made / "labels"
    write_scenes(folder, scenes)
    labels.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        path.rename(labels / path.name)
    noon = datetime.combine(date.fromisoformat(night), time(12), UTC)
    arrive(workspace, project, folder, noon)


def labels_arrive(workspace: Workspace, project: ProjectConfig, made: Path, between: tuple[int, int]) -> list[str]:
    """Ingest the labels of the nights from the first to the last of `between`; returns the scenes."""
    folder = made / "late-labels"
    folder.mkdir()
    for number in range(between[0], between[1] + 1):
        for path in (made / "labels").glob(f"n{number:02d}_*.json"):
            (folder / path.name).write_text(path.read_text())
    return arrive(workspace, project, folder, datetime.now(UTC)).new_scenes


def annotate(selection: Path, made: Path) -> int:
    """Do what annotators do: correct each window of a selection and tick it as checked; returns how many."""
    windows = sorted(selection.glob("*-r*-c*.json"))
    for path in windows:
        scene, row, col = path.stem.rsplit("-", 2)
        window = json.loads(path.read_text())
        truth = json.loads((made / "labels" / f"{scene}.json").read_text())
        frame = box(0, 0, window["imageWidth"], window["imageHeight"])
        roofs = [Polygon([(x - int(col[1:]), y - int(row[1:])) for x, y in roof["points"]]) for roof in truth["shapes"]]
        parts = shapely.get_parts(shapely.intersection(roofs, frame))
        rings = [shapely.get_coordinates(part)[:-1].tolist() for part in parts if part.geom_type == "Polygon"]
        window["shapes"] = [{"label": "building", "points": ring, "shape_type": "polygon"} for ring in rings if ring]
        path.write_text(json.dumps(window | {"flags": {"checked": True}}))
    return len(windows)
