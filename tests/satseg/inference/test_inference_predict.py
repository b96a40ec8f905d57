import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import shape

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError, ConfigurationError
from satseg.inference import predict
from satseg.inference.chosen_model import ChosenModel
from satseg.inference.item import read_record
from satseg.models.interface import ModelDescription
from satseg.stages import PredictResult, PredictSpec
from satseg.storage.layout import Workspace

SceneWriter = Callable[..., Path]
Run = Callable[..., PredictResult]


@pytest.fixture
def run(project: ProjectConfig, model: ChosenModel, workspace: Workspace) -> Run:
    """Predict files with the stand-in model."""

    def run(*scenes: Path | str, settings: dict[str, Any] | None = None, **options: Any) -> PredictResult:
        inference = project.inference.model_copy(update=settings or {})
        what = project.model_copy(update={"inference": inference})
        return predict.run(PredictSpec(project=what, scenes=[str(s) for s in scenes], **options), workspace)

    return run


def features(result: PredictResult) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(Path(result.predictions[0].polygons).read_text())["features"]
    return content


def test_maps_lie_exactly_on_the_scene(run: Run, write_scene: SceneWriter) -> None:
    result = run(write_scene())
    with rasterio.open(result.predictions[0].probability) as probability:
        assert (probability.height, probability.width) == (150, 170)
        assert probability.crs.to_epsg() == 32633
        assert probability.transform == Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)
        assert probability.scales == (1 / 254,)
        assert probability.nodata == 255
        assert probability.descriptions == ("building",)
        assert probability.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        levels = probability.read(1)
    assert levels[40, 60] == round(220 / 255 * 254)
    assert levels[5, 5] == round(40 / 255 * 254)
    with rasterio.open(result.predictions[0].classes) as classes:
        assert classes.transform == Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)
        assert classes.colormap(1)[1] != classes.colormap(1)[0]
        ids = classes.read(1)
    expected = np.zeros((150, 170), np.uint8)
    expected[20:60, 30:90] = expected[100:130, 10:40] = 1
    assert (ids == expected).all()


def test_polygons_have_place_true_area_confidence_and_origin(run: Run, write_scene: SceneWriter) -> None:
    result = run(write_scene())
    collection = json.loads(Path(result.predictions[0].polygons).read_text())
    assert collection["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    first, second = collection["features"]
    assert shape(first["geometry"]).bounds == (450_015, 3_999_970, 450_045, 3_999_990)
    assert first["properties"] == {
        "id": 1,
        "class": "building",
        "class_id": 1,
        "area_m2": pytest.approx(600, rel=1e-3),
        "area_px": 2400.0,
        "confidence": pytest.approx(220 / 255, abs=0.003),
        "confidence_min": pytest.approx(220 / 255, abs=0.003),
        "scene": "town",
        "model_version": "v3",
    }
    assert second["properties"]["area_m2"] == pytest.approx(225, rel=1e-3)
    assert result.predictions[0].objects == 2
    assert result.predictions[0].area_m2 == pytest.approx(825, rel=1e-3)


def test_areas_are_true_where_the_projection_stretches(run: Run, write_scene: SceneWriter) -> None:
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(10.0, 60.0)
    scene = write_scene(crs="EPSG:3857", transform=Affine(0.5, 0, x, 0, -0.5, y), rectangles=((20, 30, 60, 90),))
    (only,) = features(run(scene))
    assert only["properties"]["area_m2"] == pytest.approx(600 / 4, rel=0.01)  # 1 / cos²(60°) = 4


def test_scene_in_degrees_is_in_the_right_place(run: Run, write_scene: SceneWriter) -> None:
    degree = 0.5 / 111_319.49
    scene = write_scene(
        crs="EPSG:4326", transform=Affine(degree, 0, 32.5, 0, -degree, 0.1), rectangles=((20, 30, 60, 90),)
    )
    result = run(scene)
    (only,) = features(result)
    assert shape(only["geometry"]).bounds[0] == pytest.approx(32.5 + 30 * degree, abs=1e-8)
    assert only["properties"]["area_m2"] == pytest.approx(600, rel=0.02)
    name = json.loads(Path(result.predictions[0].polygons).read_text())["crs"]["properties"]["name"]
    assert name == "urn:ogc:def:crs:OGC:1.3:CRS84"


def test_polygon_across_many_strips_and_windows_is_one(
    run: Run, write_scene: SceneWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.inference.maps._STRIP_PIXELS", 64 * 64)
    result = run(write_scene(size=(500, 60), rectangles=((10, 20, 490, 40),)))
    (only,) = features(result)
    assert len(only["geometry"]["coordinates"][0]) == 5
    assert only["properties"]["area_px"] == 480 * 20


def test_small_objects_are_dropped(run: Run, write_scene: SceneWriter) -> None:
    scene = write_scene(rectangles=((20, 30, 60, 90), (100, 100, 102, 103)))
    assert len(features(run(scene))) == 1
    assert len(features(run(scene, settings={"min_area_m2": 1.0}))) == 2


@pytest.mark.parametrize("kind", ["mask", "nodata", "alpha"])
def test_nodata_is_nodata_in_the_maps(run: Run, write_scene: SceneWriter, kind: str) -> None:
    mask = np.full((150, 170), 255, np.uint8)
    mask[:, :50] = 0
    options: dict[str, Any] = {"mask": mask}
    if kind == "nodata":
        options = {"nodata": 220}
    if kind == "alpha":
        options = {"bands": 4, "photometric": "RGB", "alpha": "YES"}
    scene = write_scene(**options)
    if kind == "alpha":
        with rasterio.open(scene, "r+") as dataset:
            dataset.write(mask, 4)
    result = run(scene)
    with (
        rasterio.open(result.predictions[0].probability) as probability,
        rasterio.open(result.predictions[0].classes) as c,
    ):
        levels, ids = probability.read(1), c.read(1)
    empty = mask == 0
    if kind == "nodata":
        empty = np.zeros((150, 170), bool)
        empty[20:60, 30:90] = empty[100:130, 10:40] = True
    assert (levels[empty] == 255).all()
    assert (levels[~empty] < 255).all()
    assert (ids[empty] == 0).all()


def test_nodata_survives_resampling(run: Run, write_scene: SceneWriter) -> None:
    mask = np.full((300, 340), 255, np.uint8)
    mask[:, :100] = 0
    scene = write_scene(size=(300, 340), transform=Affine(0.25, 0, 450_000, 0, -0.25, 4_000_000), mask=mask)
    result = run(scene)
    with rasterio.open(result.predictions[0].probability) as probability:
        levels = probability.read(1)
    assert (levels[:, :50] == 255).all()
    assert (levels[:, 50:] < 255).all()


def test_file_of_another_gsd_is_read_at_the_models_and_stays_in_place(run: Run, write_scene: SceneWriter) -> None:
    scene = write_scene(
        size=(300, 340), transform=Affine(0.25, 0, 450_000, 0, -0.25, 4_000_000), rectangles=((40, 60, 120, 180),)
    )
    result = run(scene)
    assert "read at the model's GSD of 0.5 m" in result.warnings[0]
    with rasterio.open(result.predictions[0].classes) as classes:
        assert (classes.height, classes.width, classes.transform.a) == (150, 170, 0.5)
        assert classes.crs.to_epsg() == 32633
    (only,) = features(result)
    assert shape(only["geometry"]).bounds == pytest.approx((450_015, 3_999_970, 450_045, 3_999_990), abs=0.5)


def test_scene_without_crs_gives_pixel_coordinates_and_says_so(run: Run, write_scene: SceneWriter) -> None:
    result = run(write_scene("photo.png", driver="PNG", crs=None))
    assert "no CRS" in result.warnings[0]
    assert "pixel coordinates" in result.warnings[0]
    collection = json.loads(Path(result.predictions[0].polygons).read_text())
    assert "crs" not in collection
    assert collection["satseg:coordinates"] == "pixels"
    first = collection["features"][0]
    assert shape(first["geometry"]).bounds == (30, 20, 90, 60)
    assert first["properties"]["area_m2"] is None
    assert first["properties"]["area_px"] == 2400
    assert result.predictions[0].area_m2 is None
    item = json.loads(Path(result.predictions[0].item).read_text())
    assert item["geometry"] is None


def test_softmax_model_gives_a_band_per_class_without_background(
    run: Run, model: ChosenModel, description: ModelDescription, write_scene: SceneWriter
) -> None:
    class ThreeChannels:
        def __init__(self) -> None:
            self.description = description.model_copy(update={"classes": ("roof", "road")})

        def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
            bright = images[..., 0] > 127
            return np.stack([np.where(bright, 0.1, 0.6), np.full(bright.shape, 0.2), np.where(bright, 0.7, 0.2)], -1)

    model.__dict__["segmenter"] = ThreeChannels()
    object.__setattr__(model, "description", ThreeChannels().description)
    result = run(write_scene())
    assert {feature["properties"]["class"] for feature in features(result)} == {"road"}
    assert features(result)[0]["properties"]["confidence"] == pytest.approx(0.7, abs=0.003)
    with rasterio.open(result.predictions[0].probability) as probability:
        assert probability.descriptions == ("roof", "road")
        assert probability.read(2)[40, 60] == round(0.7 * 254)


def test_item_holds_the_chain_and_the_checksums_of_all_files(run: Run, write_scene: SceneWriter) -> None:
    import hashlib

    scene = write_scene()
    result = run(scene)
    path = Path(result.predictions[0].item)
    item = json.loads(path.read_text())
    properties = item["properties"]
    assert properties["satseg:model_version"] == "3"
    assert properties["satseg:run_id"] == "ab" * 16
    assert properties["satseg:patch_set"] == "0123456789ab"
    assert properties["satseg:dataset_version"] == "v2"
    assert properties["satseg:git_commit"] == "c0ffee"
    assert properties["satseg:scene_checksum"] == hashlib.sha256(scene.read_bytes()).hexdigest()
    assert set(item["assets"]) == {"probability", "classes", "polygons", "geoparquet", "preview"}
    for asset in item["assets"].values():
        content = (path.parent / asset["href"]).read_bytes()
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset["file:size"] == len(content)
    west, south, east, north = item["bbox"]
    assert 14 < west < east < 15
    assert 36 < south < north < 37
    record = read_record(path.parent)
    assert record is not None
    assert record.objects == 2


def test_second_prediction_does_nothing_until_something_changes(
    run: Run, model: ChosenModel, write_scene: SceneWriter
) -> None:
    scene = write_scene()
    first = run(scene)
    calls = model.segmenter.calls  # type: ignore[attr-defined]
    again = run(scene, settings={"batch_size": 8})
    assert model.segmenter.calls == calls  # type: ignore[attr-defined]
    assert "there already" in again.message
    assert again.predictions == first.predictions
    assert "there already" not in run(scene, force=True).message
    assert "there already" not in run(scene, settings={"threshold": 0.9}).message
    assert "there already" not in run(write_scene(rectangles=())).message


def test_out_folder_gets_a_folder_per_scene(run: Run, write_scene: SceneWriter, tmp_path: Path) -> None:
    result = run(write_scene("A b.tif"), write_scene("c.tif"), out=tmp_path / "maps")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a-b", "c"]
    assert result.predictions[1].item == str(tmp_path / "maps" / "c" / "item.json")
    assert "there already" in run(tmp_path / "c.tif", out=tmp_path / "maps").message


def test_a_folder_that_is_no_prediction_is_never_replaced(run: Run, write_scene: SceneWriter, tmp_path: Path) -> None:
    (tmp_path / "maps" / "town").mkdir(parents=True)
    (tmp_path / "maps" / "town" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"is not a prediction: it will not be replaced"):
        run(write_scene(), out=tmp_path / "maps", force=True)
    assert (tmp_path / "maps" / "town" / "thesis.txt").read_text() == "years of work"


def test_a_bad_scene_stops_before_any_is_predicted(run: Run, write_scene: SceneWriter, workspace: Workspace) -> None:
    with pytest.raises(BadDataError, match=r"'four' has 4 bands, but model v3 was trained on 3 \(red, green, blue\)"):
        run(write_scene(), write_scene("four.tif", bands=4, photometric="MINISBLACK"))
    assert not (workspace.root / "predictions").exists()


def test_an_error_in_the_middle_leaves_nothing(
    run: Run, model: ChosenModel, write_scene: SceneWriter, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(images: NDArray[Any]) -> NDArray[np.float32]:
        raise MemoryError

    monkeypatch.setattr(model.segmenter, "predict", broken)
    with pytest.raises(MemoryError):
        run(write_scene())
    assert [path for path in (workspace.root / "predictions").rglob("*") if path.is_file()] == []
