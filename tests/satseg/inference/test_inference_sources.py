from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from satseg.datasets.catalog import DatasetVersion, SceneRecord
from satseg.errors import BadDataError, ConfigurationError
from satseg.inference import sources
from satseg.inference.sources import SceneInput, plan_reading, resolve_scenes
from satseg.models.interface import ModelDescription
from satseg.storage.layout import Workspace

SceneWriter = Callable[..., Path]


@pytest.fixture
def dataset(write_scene: SceneWriter, monkeypatch: pytest.MonkeyPatch) -> DatasetVersion:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    harbour = SceneRecord(
        id="harbour",
        path=write_scene("in-dataset.tif"),
        annotations=None,
        labelled=False,
        checksum="aa",
        source_checksum="bb",
        annotation_checksum=None,
        ingested_at=now,
        crs="EPSG:32633",
        gsd_m=0.5,
        width=170,
        height=150,
        bands=("red", "green", "blue"),
        dtype="uint8",
        nodata=None,
        transform=(0.5, 0, 450_000, 0, -0.5, 4_000_000),
        footprint_wgs84=None,
        item={"properties": {"datetime": "2026-05-01T10:00:00Z"}},
    )
    version = DatasetVersion("roofs", "v7", "c0ffee", now, (harbour, replace(harbour, id="old-town")), "")
    monkeypatch.setattr(sources, "open_version", lambda workspace, project: version)
    return version


def test_scene_id_means_the_scene_of_the_newest_version(dataset: DatasetVersion, workspace: Workspace) -> None:
    (scene,) = resolve_scenes(["harbour", "harbour"], "roofs", workspace)
    assert (scene.path, scene.checksum, scene.source_checksum) == (dataset.scenes[0].path, "aa", "bb")
    assert (scene.dataset_version, scene.acquired) == ("v7", "2026-05-01T10:00:00Z")


def test_unknown_scene_names_the_nearest_ids(dataset: DatasetVersion, workspace: Workspace) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'harbor' is neither .* nor a file; nearest scene ids of v7: harbour"
    ):
        resolve_scenes(["harbor"], "roofs", workspace)


def test_unknown_scene_without_a_dataset_says_so(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="no dataset yet"):
        resolve_scenes(["harbour"], "roofs", workspace)


def test_file_named_like_a_scene_of_the_dataset_gets_its_own_folder(
    dataset: DatasetVersion, workspace: Workspace, write_scene: SceneWriter
) -> None:
    (scene,) = resolve_scenes([str(write_scene("Harbour.tif"))], "roofs", workspace)
    assert scene.id == f"harbour-{scene.checksum[:8]}"
    assert scene.dataset_version is None


def test_file_a_scene_was_ingested_from_means_that_scene(
    dataset: DatasetVersion, workspace: Workspace, write_scene: SceneWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene("harbour.tif")
    monkeypatch.setattr(sources, "sha256_of", lambda file: "bb")
    assert resolve_scenes([str(path)], "roofs", workspace) == resolve_scenes(["harbour"], "roofs", workspace)


def test_two_files_of_one_name_are_refused(workspace: Workspace, write_scene: SceneWriter, tmp_path: Path) -> None:
    (tmp_path / "north").mkdir()
    files = [str(write_scene("a.tif")), str(write_scene("north/a.tif"))]
    with pytest.raises(ConfigurationError, match="would both be written as scene 'a'"):
        resolve_scenes(files, "roofs", workspace)


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"not a picture at all", "GeoTIFF, PNG or JPEG")])
def test_file_that_is_no_raster_is_bad_data(
    content: bytes, message: str, description: ModelDescription, tmp_path: Path
) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=message):
        plan_reading(SceneInput("bad", path, "", "", None), description, "v3")


def test_other_pixel_type_than_the_models_is_bad_data(description: ModelDescription, write_scene: SceneWriter) -> None:
    scene = SceneInput("deep", write_scene("deep.tif", dtype="uint16"), "", "", None)
    with pytest.raises(BadDataError, match="uint16 pixels, but model v3 was trained on uint8"):
        plan_reading(scene, description, "v3")


def test_alpha_does_not_count_as_a_band(description: ModelDescription, write_scene: SceneWriter) -> None:
    path = write_scene("alpha.tif", bands=4, photometric="RGB", alpha="YES")
    plan = plan_reading(SceneInput("alpha", path, "", "", None), description, "v3")
    with plan.open() as rows:
        pixels, valid = rows.read_rows(0, 10)
    assert pixels.shape == (10, 170, 3)
    assert valid.shape == (10, 170)


def test_gsd_near_the_models_is_not_resampled(description: ModelDescription, write_scene: SceneWriter) -> None:
    scene = SceneInput("town", write_scene(), "", "", None)
    same = plan_reading(scene, description.model_copy(update={"gsd_m": 0.504}), "v3")
    other = plan_reading(scene, description.model_copy(update={"gsd_m": 0.52}), "v3")
    assert (same.grid.width, same.warnings) == (170, ())
    assert other.grid.width == round(170 * 0.5 / 0.52)
    assert "0.52 m" in other.warnings[0]
