"""Other classes in the project file: labels that are kept get the new ids by name."""

import pytest
from dataset_drops import HOUSE, write_labels, write_scene

from satseg.annotations.table import read_table
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import open_version
from satseg.errors import ConfigurationError

pytestmark = pytest.mark.slow


def project_of(*classes: str) -> ProjectConfig:
    return ProjectConfig(name="roofs", classes=classes)


def ids(workspace) -> dict[str, list[tuple[str, int]]]:
    records = open_version(workspace, "roofs").scenes
    return {r.id: [(p.class_name, p.class_id) for p in read_table(r.annotations)] for r in records if r.annotations}


def drop(folder, name: str, seed: int, label: str):
    write_scene(folder / f"{name}.tif", seed=seed)
    write_labels(folder / f"{name}.json", HOUSE, label=label)
    return folder


def test_kept_labels_follow_the_classes_of_the_project_file(workspace, ingest, tmp_path):
    ingest(drop(tmp_path / "a", "a", 1, "building"), project_of("building", "road"))
    result = ingest(drop(tmp_path / "b", "b", 2, "tree"), project_of("tree", "road", "building"))
    assert ids(workspace) == {"a": [("building", 3)], "b": [("tree", 1)]}
    assert result.new_scenes == ["a", "b"]
    item = open_version(workspace, "roofs").scenes[0].item
    assert item["properties"]["label:classes"][0]["classes"] == ["tree", "road", "building"]
    assert item["properties"]["satseg:label_source"] == "stem"

    result = ingest(what=project_of("building", "tree"))  # an empty drop zone; nobody used "road"
    assert (result.dataset_version, result.changed, result.new_scenes) == ("v3", True, ["a", "b"])
    assert ids(workspace) == {"a": [("building", 1)], "b": [("tree", 2)]}
    assert not ingest(what=project_of("building", "tree")).changed
    assert not ingest(what=project_of("building", "tree", "added")).changed  # no id is another

    with pytest.raises(ConfigurationError, match=r"class 'tree' is no longer .* but 1 polygons .*\(scenes b\).*Add it"):
        ingest(what=project_of("building"))
    mended = ingest(drop(tmp_path / "c", "b", 2, "building"), project_of("building"))
    assert (mended.dataset_version, ids(workspace)["b"]) == ("v4", [("building", 1)])
