from pathlib import Path

import pytest

from satseg.config.project import content_id, load_project, parse_project
from satseg.errors import ConfigurationError, NotFoundError

MINIMAL = "name: roads\nclasses: [road]\n"


def test_minimal_project_gets_defaults():
    project = parse_project(MINIMAL, "roads.yaml")
    assert project.patches.size_px == 256
    assert (project.drift.confirm.nights, project.drift.confirm.of) == (2, 3)
    assert project.class_id("road") == 1
    assert project.class_id("tree") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "patchs: {}\n", "patchs: unknown key; did you mean 'patches'?"),
        (MINIMAL + "patches: {siz_px: 256}\n", "patches.siz_px: unknown key; did you mean 'size_px'?"),
        (MINIMAL + "training: {zzz: 1}\n", "valid keys: architecture"),
        (MINIMAL + "patches: {size_px: 100}\n", "multiple of 32 (value 100)"),
        (MINIMAL + "patches: {size_px: 64, stride_px: 96}\n", "pixels would be lost"),
        (MINIMAL + "patches: {block_px: 300}\n", "not a multiple of size_px"),
        (MINIMAL + "patches: {val_fraction: 0.5, test_fraction: 0.5}\n", "leave nothing to train on"),
        (MINIMAL + "drift: {confirm: {nights: 4, of: 3}}\n", "could never be confirmed"),
        (MINIMAL + "schedule: {drift: every tuesday}\n", "schedule.drift: not a cron expression: write minute, hour"),
        (MINIMAL + "schedule: {drift: '61 2 * * *'}\n", "(value '61 2 * * *')"),
        (MINIMAL + "patches: {seed: 1}\npatches: {size_px: 64}\n", "key 'patches' stands twice (line 3 and line 4)"),
        ("name: roads\n", "classes: this key is required"),
        (
            "name: Roads 1\nclasses: [road]\n",
            "name: a letter a-z, then at most 62 of a-z, 0-9, - and _, like roads_1 (",
        ),
        ("name: roads\nclasses: [Flat Roof]\n", "classes.0: a letter a-z"),
        ("name: roads\nclasses: [Flat Roof]\n", "like flat_roof; annotations.class_names says"),
        ("name: roads\nclasses: [Dächer]\n", "- and _; annotations.class_names says"),
        ("name: roads\nclasses: road\n", "classes: write a list, like [road] (value 'road')"),
        ("name: roads\nclasses: []\n", "classes: Tuple should have at least 1 item"),
        (
            MINIMAL + "annotations: {class_names: {Path: track}}\n",
            "'Path' means 'track', which is not one of classes (r",
        ),
        ("name: roads\nclasses: [road, road]\n", "distinct"),
        ("name: roads\nclasses: [background]\n", "class 0"),
        ("- a\n- b\n", "must be a mapping"),
        ("a: [b\n", "not valid YAML"),
    ],
)
def test_wrong_project_file_says_what_and_how_to_mend(text, expected):
    with pytest.raises(ConfigurationError) as error:
        parse_project(text, "roads.yaml")
    assert expected in str(error.value)
    assert "roads.yaml" in str(error.value)


def test_a_wrong_class_is_one_error():
    with pytest.raises(ConfigurationError) as error:
        parse_project("name: roads\nclasses: [flat roof]\n", "roads.yaml")
    assert "at least 1 item" not in str(error.value)


def test_overrides_change_nested_keys():
    project = parse_project(MINIMAL, "roads.yaml", ("training.epochs=3", "gsd_m=0.5", "classes=[road, path]"))
    assert project.training.epochs == 3
    assert project.gsd_m == 0.5
    assert project.classes == ("road", "path")


@pytest.mark.parametrize(
    ("override", "expected"),
    [("training.epochs", "key=value"), ("name.x=1", "is a value, not a section"), ("training.epoch=3", "'epochs'")],
)
def test_wrong_override_is_named(override, expected):
    with pytest.raises(ConfigurationError, match=expected):
        parse_project(MINIMAL, "roads.yaml", (override,))


def test_project_is_found_by_name_file_or_as_the_only_one(tmp_path: Path):
    (tmp_path / "roads.yaml").write_text(MINIMAL)
    assert load_project(None, tmp_path).name == "roads"
    assert load_project("roads", tmp_path).name == "roads"
    assert load_project(str(tmp_path / "roads.yaml"), Path("/nowhere")).name == "roads"
    with pytest.raises(NotFoundError, match=r"No project 'rivers'.*roads"):
        load_project("rivers", tmp_path)
    (tmp_path / "rivers.yaml").write_text(MINIMAL)
    with pytest.raises(NotFoundError, match="Which project"):
        load_project(None, tmp_path)
    with pytest.raises(ConfigurationError, match="rename the file"):
        load_project("rivers", tmp_path)


def test_content_id_depends_on_content_only():
    project = parse_project(MINIMAL, "roads.yaml")
    again = parse_project("classes: [road]\nname: roads\n", "other.yaml")
    assert content_id(project) == content_id(again)
    assert content_id(project, 1) != content_id(project, 2)
    assert len(content_id(project)) == 12
