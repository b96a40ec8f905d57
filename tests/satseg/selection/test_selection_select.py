"""From scenes without labels to LabelMe files, and back through the usual ingest."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import open_version
from satseg.errors import ConfigurationError, NotFoundError
from satseg.selection.record import SELECTION_FILE
from satseg.selection.select import run
from satseg.stages import SelectSpec
from satseg.storage.layout import Workspace


def spec_of(project: ProjectConfig, **given) -> SelectSpec:
    return SelectSpec(project=project, **given)


def tick(path: Path, **changes) -> None:
    tree = json.loads(path.read_text())
    tree["flags"]["checked"] = True
    path.write_text(json.dumps(tree | changes))


@pytest.mark.slow
def test_windows_go_to_annotators_and_come_home_as_labelled_scenes(  # noqa: PLR0917 - fixtures
    workspace: Workspace, project: ProjectConfig, segmenter, drop, ingest, town
) -> None:
    drop("north", town)
    drop("old", town[:64, :64], at=1, labels=[])
    ingest()
    found = run(spec_of(project, budget=2), workspace)
    assert found.windows == ["north-r00000-c00064", "north-r00064-c00128"]
    assert found.candidates == 6  # the labelled scene is none
    folder = Path(found.folder or "")
    tree = json.loads((folder / "north-r00064-c00128.json").read_text())
    assert (tree["imagePath"], tree["flags"], tree["imageWidth"]) == ("north-r00064-c00128.tif", {"checked": False}, 64)
    (roof,) = tree["shapes"]
    corners = np.array(roof["points"])
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([12, 16], [42, 46])
    assert np.asarray(Image.open(folder / tree["imagePath"])).tolist() == town[64:128, 128:192].tolist()
    assert json.loads((folder / "north-r00000-c00064.json").read_text())["shapes"] == []  # 120 of 255 is no roof

    assert run(spec_of(project, budget=2), workspace).windows == found.windows  # nothing is done again
    with pytest.raises(NotFoundError, match=r"no selection 'other'.*" + found.selection):
        run(spec_of(project, step="collect", name="other"), workspace)
    waiting = run(spec_of(project, step="collect", name=found.selection), workspace)
    assert (waiting.collected, len(waiting.waiting)) == ([], 2)

    tick(folder / "north-r00064-c00128.json", imageData="aGVsbG8=", shapes=tree["shapes"])
    home = run(spec_of(project, step="collect", name=found.selection), workspace)
    assert (home.collected, home.waiting) == (["north-r00064-c00128"], ["north-r00000-c00064"])
    assert run(spec_of(project, step="collect", name=found.selection), workspace).collected == []
    version = ingest(None)
    assert version.new_scenes == ["north-r00064-c00128"]
    record = {one.id: one for one in open_version(workspace, "roofs").scenes}["north-r00064-c00128"]
    assert record.labelled
    with rasterio.open(record.path) as scene:
        assert scene.transform.c == 450_000 + 64
        assert scene.transform.f == 4_000_000 - 32
        assert scene.read().transpose(1, 2, 0).tolist() == town[64:128, 128:192].tolist()
    again = run(spec_of(project, budget=9), workspace)
    assert len(again.windows) == 4  # none of those that were selected before
    assert not set(again.windows) & set(found.windows)


@pytest.mark.slow
def test_values_of_the_dataset_stay_as_they_are_when_windows_come_home(  # noqa: PLR0917 - fixtures
    workspace: Workspace, project: ProjectConfig, segmenter, drop, ingest, town
) -> None:
    stretched = project.model_validate(project.model_dump() | {"radiometry": {"stretch": {}}})
    drop("north", town)
    ingest(what=stretched)
    (before,) = open_version(workspace, "roofs").scenes
    found = run(spec_of(stretched, budget=1), workspace)
    (name,) = found.windows
    tick(Path(found.folder or "") / f"{name}.json")
    run(spec_of(stretched, step="collect", name=found.selection), workspace)
    ingest(None, what=stretched)
    after = {one.id: one for one in open_version(workspace, "roofs").scenes}[name]
    row, col = int(name[-12:-7]), int(name[-5:])
    with rasterio.open(before.path) as whole, rasterio.open(after.path) as part:
        assert part.read().tolist() == whole.read()[:, row : row + 64, col : col + 64].tolist()


@pytest.mark.slow
def test_labelled_scenes_are_left_out_and_a_killed_selection_leaves_nothing(  # noqa: PLR0917 - fixtures
    workspace: Workspace, project: ProjectConfig, segmenter, drop, ingest, town, monkeypatch: pytest.MonkeyPatch
) -> None:
    from satseg.selection import select

    drop("north", town)
    drop("old", town[:64, :64], at=1, labels=[])
    ingest()
    with pytest.raises(NotFoundError, match="Scene south is not in roofs v1"):
        run(spec_of(project, budget=1, scenes=["south"]), workspace)
    none = run(spec_of(project, budget=1, scenes=["old"]), workspace)
    assert (none.windows, none.folder) == ([], None)
    assert "old has labels already" in none.warnings[0]

    def killed(*arguments) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(select, "write_selection", killed)
        with pytest.raises(KeyboardInterrupt):
            run(spec_of(project, budget=1, name="first"), workspace)
    assert not list(workspace.selections("roofs").iterdir())
    first = run(spec_of(project, budget=1, name="first"), workspace)
    assert (workspace.selection("roofs", "first") / SELECTION_FILE).is_file()
    second = run(spec_of(project, budget=1, name="second"), workspace)
    assert first.windows != second.windows
    repeated = run(spec_of(project, budget=1, name="first", force=True), workspace)
    assert repeated.windows == first.windows


def test_a_selection_without_a_budget_or_name_says_what_to_give(workspace: Workspace, project: ProjectConfig) -> None:
    with pytest.raises(ConfigurationError, match="--budget"):
        run(spec_of(project), workspace)
    with pytest.raises(ConfigurationError, match="Which selection"):
        run(spec_of(project, step="collect"), workspace)
