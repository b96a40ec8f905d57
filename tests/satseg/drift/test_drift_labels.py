"""Whether a retraining has new labels to learn from, and whom it asks otherwise."""

import json

import pytest

from satseg.config.project import ProjectConfig
from satseg.datasets.listing import run as list_scenes
from satseg.datasets.names import window_scene, windows_among
from satseg.datasets.repository import GitRepository
from satseg.drift import labels
from satseg.drift.reference import Champion
from satseg.errors import NotFoundError
from satseg.stages import LabelsResult, LabelsSpec, ListScenesSpec
from satseg.storage.layout import Workspace

FIRST = {"old": "labels", "bare": None}


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> Champion:
    """Learned from v1."""
    made = Champion("v1", "v1")
    monkeypatch.setattr(labels, "champion_of", lambda workspace, project: made)
    return made


@pytest.fixture
def dataset(workspace: Workspace):
    """Return what tags a version with these scenes: id to checksum of the labels."""
    workspace.data.mkdir(parents=True)
    repository = GitRepository(workspace.data)
    repository.initialise()
    items = workspace.dataset("town") / "items"
    items.mkdir(parents=True)

    def tag(version: str, scenes: dict[str, str | None], pixels: dict[str, str] | None = None) -> None:
        for scene, annotation in scenes.items():
            properties = {
                "satseg:checksum": (pixels or {}).get(scene, scene),
                "satseg:annotation_checksum": annotation,
                "satseg:ingested_at": "2026-03-01T12:00:00+00:00",
            }
            (items / f"{scene}.json").write_text(json.dumps({"id": scene, "properties": properties}))
        repository.commit(["town/items"], version)
        repository.tag(f"town/{version}", version)

    tag("v1", FIRST)
    return tag


def asked(workspace: Workspace, night: str | None = "2026-03-02", **retraining: object) -> LabelsResult:
    project = ProjectConfig.model_validate({"name": "town", "classes": ["roof"], "retraining": retraining})
    return labels.run(LabelsSpec(project=project, night=night), workspace)


def test_new_labels_are_those_of_new_scenes_and_of_known_ones_labelled_since(workspace, dataset, champion) -> None:
    dataset("v2", {"bare": "late", "new": "labels", "unlabelled": None})
    found = asked(workspace)
    assert (found.new_scenes, found.candidates, found.enough) == (["bare", "new"], [], True)
    assert found.dataset_version == "v2"
    assert "2 labelled scenes are new since v1" in found.message


def test_without_new_labels_annotators_are_asked_for_windows_of_the_new_scenes(workspace, dataset, champion) -> None:
    dataset("v2", {"new": None, window_scene("new", 0, 64): None})
    found = asked(workspace)
    assert not found.enough
    assert found.candidates == ["new"]  # neither what the champion's version knew, nor a window
    assert found.request == "drift-2026-03-02"
    assert asked(workspace, night=None).request == "labels-v2"


def test_too_few_labels_ask_too(workspace, dataset, champion) -> None:
    dataset("v2", {"new": "labels", "other": None})
    assert asked(workspace).enough
    few = asked(workspace, min_new_scenes=2)
    assert (few.enough, few.candidates) == (False, ["other"])
    assert asked(workspace, min_new_scenes=0).enough


def test_changed_labels_of_a_scene_that_was_learned_are_new(workspace, dataset, champion) -> None:
    dataset("v2", {"old": "corrected"})
    assert asked(workspace).new_scenes == ["old"]


def test_where_nobody_can_be_asked_a_warning_says_so(workspace, dataset, champion) -> None:
    dataset("v2", {})
    found = asked(workspace)
    assert found.enough
    assert "nobody can be asked" in found.warnings[0]


def test_without_a_champion_there_is_nothing_to_train_again(workspace, dataset, monkeypatch) -> None:
    monkeypatch.setattr(labels, "champion_of", lambda workspace, project: None)
    with pytest.raises(NotFoundError, match="no champion yet"):
        asked(workspace)


def test_labelled_windows_are_not_listed_as_scenes_of_a_night(workspace, dataset) -> None:
    window = window_scene("new", 128, 0)
    dataset("v2", {"new": None, window: "labels"})
    project = ProjectConfig(name="town", classes=("roof",))
    listed = list_scenes(ListScenesSpec(project=project), workspace)
    assert listed.scenes == ["bare", "new", "old"]


def test_windows_are_known_by_the_scene_they_are_of() -> None:
    long = "n" * 80
    ids = ["a", window_scene("a", 0, 64), window_scene("gone", 0, 64), long, window_scene(long, 100_000, 5), "a-r1-c2"]
    assert windows_among(ids) == {"a-r00000-c00064", window_scene(long, 100_000, 5)}
    assert len(window_scene(long, 0, 0)) < 90
