"""From anything to what it was made from."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from satseg.cli.lineage import tree, uses_tree
from satseg.errors import NotFoundError
from satseg.lineage import chain
from satseg.stages import LineageSpec

RUN, PATCH_SET = "f" * 32, "0123456789ab"
WHOLE = ["prediction", "model_version", "run", "code", "patch_set", "dataset_version", "scene", "scene"]


@pytest.fixture
def ask(workspace, project):
    return lambda target: chain.run(LineageSpec(project=project, target=str(target)), workspace)


def kinds(result):
    return [node["kind"] for node in result.chain]


def states(result):
    return [node["state"] for node in result.chain]


@pytest.mark.parametrize("part", ["", "polygons.geojson", "classes.tif", "item.json"])
def test_any_file_of_a_prediction_leads_back_to_scenes_and_code(ask, prediction, part):
    result = ask(prediction / part)
    assert kinds(result) == WHOLE
    assert [node["id"] for node in result.chain] == [
        "west-v1", "v1", RUN, "c0ffee", PATCH_SET, "v1", "east", "west",
    ]  # fmt: skip
    assert states(result) == ["ok", None, None, None, "ok", None, "ok", "ok"]
    assert result.warnings == []


def test_checksums_of_cog_and_source_and_the_dvc_commit_are_named(ask, prediction, workspace):
    nodes = {(node["kind"], node["id"]): node["facts"] for node in ask(prediction).chain}
    scene = nodes["scene", "west"]
    pixels = (workspace.dataset("houses") / "scenes" / "west.tif").read_bytes()
    assert scene["checksum"] == hashlib.sha256(pixels).hexdigest()
    assert (scene["source"], scene["source_checksum"]) == ("west.png", "1" * 64)
    assert nodes["prediction", "west-v1"]["scene_checksum"] == scene["checksum"]
    assert nodes["dataset_version", "v1"]["git_tag"] == "houses/v1"
    assert len(nodes["dataset_version", "v1"]["git_commit"]) == 40
    assert nodes["model_version", "v1"]["aliases"] == "champion"


def test_edited_prediction_file_is_reported(ask, prediction):
    (prediction / "polygons.geojson").write_text("edited")
    result = ask(prediction)
    assert states(result)[0] == "changed"
    assert result.warnings == ["prediction west-v1: polygons.geojson changed"]


def test_scene_edited_after_versioning_is_reported(ask, workspace):
    (workspace.dataset("houses") / "scenes" / "east.tif").write_bytes(b"edited")
    assert ask("dataset:v1").warnings == ["scene east: COG changed"]


def test_newer_version_of_a_scene_is_no_fault_of_the_old_one(ask, workspace, second_version):
    old, new = ask("dataset:v1"), ask("v2")
    assert [(node["id"], node["state"]) for node in old.chain[1:]] == [("east", "not checked"), ("west", "ok")]
    assert states(new) == [None, "ok", "ok"]
    assert old.warnings == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("champion", WHOLE[1:]),
        ("1", WHOLE[1:]),
        ("model:v1", WHOLE[1:]),
        (RUN, WHOLE[1:]),  # a registered run is shown as its version
        (f"run:{RUN}", WHOLE[2:]),
        (PATCH_SET, WHOLE[4:]),
        (f"patch-set:{PATCH_SET}", WHOLE[4:]),
        ("houses/v1", WHOLE[5:]),
        ("dataset:v1", WHOLE[5:]),
        ("east", ["scene", "dataset_version"]),
    ],
)
def test_names_are_recognised(ask, target, expected):
    assert kinds(ask(target)) == expected


def test_ambiguous_name_is_the_dataset_version_and_says_so(ask):
    result = ask("v1")
    assert kinds(result)[0] == "dataset_version"
    assert result.warnings == ["'v1' is also a name of model:1: write that to see it."]


def test_folder_of_a_patch_set_and_scene_file_are_recognised(ask, workspace):
    assert kinds(ask(workspace.patch_set("houses", PATCH_SET) / "images-00000.npy"))[0] == "patch_set"
    assert kinds(ask(workspace.dataset("houses") / "scenes" / "east.tif"))[0] == "scene"


@pytest.mark.parametrize("target", ["nothing", "scene:nothing", "/no/such/file.tif", "run:abc"])
def test_unknown_target_lists_what_there_is(ask, target):
    with pytest.raises(NotFoundError) as raised:
        ask(target)
    message = str(raised.value)
    assert f"Nothing called '{target}' has a lineage in project 'houses'" in message
    assert f"dataset versions: v1; patch sets: {PATCH_SET}; scenes: east, west" in message


def test_deleted_run_and_patch_set_stand_as_missing_and_the_chain_goes_on(ask, prediction, workspace, registry):
    registry.runs.clear()
    registry.versions.clear()
    shutil.rmtree(workspace.patch_set("houses", PATCH_SET))
    result = ask(prediction)
    assert kinds(result) == ["prediction", "model_version", "run", "patch_set", "dataset_version", "scene", "scene"]
    assert states(result)[1:4] == ["missing", "missing", "missing"]
    assert len(result.warnings) == 3


def names(uses):
    return {f"{use['kind']} {use['id']}": names(use["uses"]) for use in uses}


def test_everything_made_from_a_thing_is_named_down_to_the_maps(ask, prediction):
    maps = {f"prediction {prediction}": {}}
    versions = {"model_version v1": maps}
    runs = {f"run {RUN}": versions}
    sets = {f"patch_set {PATCH_SET}": runs}
    assert names(ask("v1").uses) == sets
    assert names(ask(PATCH_SET).uses) == runs
    assert names(ask(f"run:{RUN}").uses) == versions
    assert names(ask("champion").uses) == maps
    assert names(ask("west").uses) == {"dataset_version v1": sets} | maps
    assert names(ask("east").uses) == {"dataset_version v1": sets}
    assert ask(prediction).uses == []
    assert ask("v1").chain[0]["used_by"] == [f"patch set {PATCH_SET}"]


def test_run_that_started_from_another_is_among_its_uses(ask, registry, prediction):
    first = registry.runs[RUN]
    tags = first.tags | {"satseg.patch_set": "b" * 12, "satseg.init_from": RUN}
    registry.runs["e" * 32] = replace(first, id="e" * 32, tags=tags)
    again = {f"run {'e' * 32}": {}}
    assert names(ask(f"run:{RUN}").uses) == {"model_version v1": {f"prediction {prediction}": {}}} | again
    assert names(ask("champion").uses) == {f"prediction {prediction}": {}} | again
    assert names(ask(PATCH_SET).uses)[f"run {RUN}"].keys() == {"model_version v1", f"run {'e' * 32}"}


def test_scene_that_a_patch_set_does_not_hold_did_not_go_into_it(ask, workspace, prediction):
    path = workspace.patch_set("houses", PATCH_SET) / "patchset.json"
    description = json.loads(path.read_text()) | {"scenes": {"west": {}}}
    path.write_text(json.dumps(description))
    assert names(ask("east").uses) == {"dataset_version v1": {}}


def test_tree_of_uses_shows_every_link(ask, prediction, tmp_path):
    result = ask("west")
    with (tmp_path / "tree.txt").open("w+") as file:
        Console(width=300, file=file).print(uses_tree(result.chain[0], result.uses))
    lines = (tmp_path / "tree.txt").read_text().splitlines()
    depth = {line.lstrip("│├└─ ").split("/")[0].strip(): len(line) - len(line.lstrip("│├└─ ")) for line in lines}
    order = ["made from scene west", "dataset version v1", f"patch set {PATCH_SET}", f"run {RUN}", "model version v1"]
    assert [depth[words] for words in order] == sorted({depth[words] for words in order})


def test_result_is_plain_json_and_tree_shows_every_link(ask, prediction, tmp_path):
    result = ask(prediction)
    json.dumps(result.model_dump(mode="json"))
    with (tmp_path / "tree.txt").open("w+") as file:
        Console(width=200, file=file).print(tree(result.chain))
    text = (tmp_path / "tree.txt").read_text()
    for word in (
        "prediction west-v1 ok",
        "model version v1",
        f"run {RUN}",
        "code c0ffee",
        "patch set",
        "scene west ok",
    ):
        assert word in text
