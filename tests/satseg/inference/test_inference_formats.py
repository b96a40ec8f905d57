"""What other programs read: polygons in three formats, probabilities in three types, in the right place."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from rasterio.warp import Resampling, calculate_default_transform, reproject
from shapely.geometry import shape

from satseg.config.project import ProjectConfig
from satseg.inference import predict
from satseg.inference.chosen_model import ChosenModel
from satseg.inference.palette import PREDICTION
from satseg.stages import Prediction, PredictSpec
from satseg.storage.layout import Workspace

SceneWriter = Callable[..., Path]
ALL = ("geoparquet", "geopackage", "geojson")
KAMPALA = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")) / "kampala"


@pytest.fixture
def run(project: ProjectConfig, model: ChosenModel, workspace: Workspace) -> Callable[..., Prediction]:
    def run(scene: Path, **settings: Any) -> Prediction:
        inference = project.inference.model_copy(update={"polygon_formats": ALL} | settings)
        spec = PredictSpec(project=project.model_copy(update={"inference": inference}), scenes=[str(scene)])
        return predict.run(spec, workspace).predictions[0]

    return run


def read(path: str) -> tuple[dict[str, Any], list[Any], dict[str, list[Any]]]:
    """Return meta, geometries and fields of a file, each read by the library its users have."""
    if path.endswith(".parquet"):
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[b"geo"])
        fields = {name: table[name].to_pylist() for name in table.column_names if name not in {"geometry", "bbox"}}
        return about, shapely.from_wkb(table["geometry"].to_pylist()).tolist(), fields
    meta, _, wkb, values = pyogrio.raw.read(path)
    fields = {name: column.tolist() for name, column in zip(meta["fields"], values, strict=True)}
    return meta, shapely.from_wkb(wkb).tolist(), fields


def test_all_formats_hold_the_same(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    result = run(write_scene())
    assert result.polygon_files.keys() == set(ALL)
    assert result.polygons == result.polygon_files["geojson"]
    features = json.loads(Path(result.polygons).read_text())["features"]
    for path in result.polygon_files.values():
        _, geometries, fields = read(path)
        assert [shapely.normalize(g) for g in geometries] == [shapely.normalize(shape(f["geometry"])) for f in features]
        for name in ("class", "class_id", "area_m2", "confidence", "confidence_min", "scene", "model_version"):
            assert fields[name] == [feature["properties"][name] for feature in features], path
    assets = json.loads(Path(result.item).read_text())["assets"]
    assert {assets[name]["href"] for name in ("polygons", "geoparquet", "geopackage")} == {
        "./polygons.geojson", "./polygons.parquet", "./polygons.gpkg",
    }  # fmt: skip


def test_geoparquet_says_where_it_is(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    path = run(write_scene()).polygon_files["geoparquet"]
    about, geometries, _ = read(path)
    column = about["columns"]["geometry"]
    assert (about["version"], about["primary_column"]) == ("1.1.0", "geometry")
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32633
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["bbox"] == list(shapely.total_bounds(geometries))
    boxes = pq.read_table(path)["bbox"].to_pylist()
    assert [tuple(box.values()) for box in boxes] == [geometry.bounds for geometry in geometries]


def test_geopackage_has_the_crs_and_a_spatial_index(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    path = run(write_scene()).polygon_files["geopackage"]
    info = pyogrio.read_info(path)
    assert (info["crs"], info["geometry_type"], info["features"]) == ("EPSG:32633", "Polygon", 2)
    assert info["capabilities"]["fast_spatial_filter"]


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="ogrinfo (gdal-bin) is not installed")
def test_ogrinfo_reads_geopackage_and_geojson(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    result = run(write_scene())
    for name in ("geopackage", "geojson"):
        text = subprocess.check_output(["ogrinfo", "-so", "-al", result.polygon_files[name]], text=True)
        assert "Feature Count: 2" in text
        assert "WGS 84 / UTM zone 33N" in text


def test_pixel_space_is_said_in_every_format(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    result = run(write_scene("photo.png", driver="PNG", crs=None))
    assert json.loads(Path(result.polygons).read_text())["satseg:coordinates"] == "pixels"
    table = pq.read_table(result.polygon_files["geoparquet"])
    assert table.schema.metadata[b"satseg:coordinates"] == b"pixels"
    assert json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["crs"] is None
    assert table["area_m2"].to_pylist() == [None, None]
    info = pyogrio.read_info(result.polygon_files["geopackage"], force_total_bounds=True)
    assert info["crs"] is None
    assert tuple(info["total_bounds"]) == (10, 20, 90, 130)


def test_a_map_without_objects_gives_files_without_rows(
    run: Callable[..., Prediction], write_scene: SceneWriter
) -> None:
    result = run(write_scene(rectangles=()))
    assert result.objects == 0
    assert pq.read_table(result.polygon_files["geoparquet"]).num_rows == 0
    assert pyogrio.read_info(result.polygon_files["geopackage"])["features"] == 0


def test_only_the_wanted_formats_are_kept(run: Callable[..., Prediction], write_scene: SceneWriter) -> None:
    result = run(write_scene(), polygon_formats=("geopackage",))
    assert Path(result.polygons).name == "polygons.gpkg"
    assert {path.suffix for path in Path(result.polygons).parent.glob("polygons.*")} == {".gpkg"}
    assert json.loads(Path(result.item).read_text())["assets"]["polygons"]["href"] == "./polygons.gpkg"
    assert "there already" not in Path(result.polygons).name
    assert np.asarray(Image.open(result.preview)).shape[2] == 3


@pytest.mark.parametrize(("dtype", "bound"), [("uint8", 0.002), ("float16", 2.5e-4), ("float32", 1e-6)])
def test_probabilities_in_the_chosen_type(
    run: Callable[..., Prediction], write_scene: SceneWriter, dtype: str, bound: float
) -> None:
    mask = np.full((150, 170), 255, np.uint8)
    mask[:, :5] = 0
    result = run(write_scene(mask=mask), probability=dtype)
    with rasterio.open(result.probability) as dataset:
        assert dataset.dtypes == ("uint8" if dtype == "uint8" else "float32",)
        assert dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS") == ("16" if dtype == "float16" else None)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.descriptions == ("building",)
        values = dataset.read(1, masked=True)
        probability = np.ma.asarray(values, float) * dataset.scales[0]
    assert values.mask[:, :5].all()
    assert not values.mask[:, 5:].any()
    assert abs(probability[40, 60] - 220 / 255) < bound
    assert abs(probability[5, 60] - 40 / 255) < bound
    _, geometries, fields = read(result.polygon_files["geojson"])
    assert len(geometries) == 2
    assert fields["confidence"][0] == pytest.approx(220 / 255, abs=0.003)


@pytest.mark.slow
@pytest.mark.skipif(not (KAMPALA / "ggaba_b.tif").is_file(), reason=f"{KAMPALA} is missing: set SHARED_DATA")
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_ggaba_b_lies_where_it_is_on_earth(
    run: Callable[..., Prediction], model: ChosenModel, tmp_path: Path, crs: str
) -> None:
    object.__setattr__(model, "description", model.description.model_copy(update={"gsd_m": None}))
    with rasterio.open(KAMPALA / "ggaba_b.tif") as source:
        transform, width, height = calculate_default_transform(
            source.crs, crs, source.width, source.height, *source.bounds
        )
        profile = {**source.profile, "crs": crs, "transform": transform, "width": width, "height": height}
        pixels = np.zeros((3, height, width), np.uint8)
        bands = rasterio.band(source, [1, 2, 3])
        reproject(bands, pixels, dst_transform=transform, dst_crs=crs, resampling=Resampling.nearest)
        west, south, east, north = rasterio.warp.transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    scene = tmp_path / "ggaba_b.tif"
    with rasterio.open(scene, "w", **profile) as dataset:
        dataset.write(pixels)
    result = run(scene, min_area_m2=4.0, window_px=128, batch_size=32)
    with rasterio.open(result.classes) as classes, rasterio.open(scene) as there:
        assert (classes.crs, classes.transform, classes.shape) == (there.crs, there.transform, there.shape)
        bright = there.read().mean(axis=0) / 255 >= 0.5
        inside = np.s_[4:-4, 4:-4]
        assert (classes.read(1)[inside] == bright[inside]).mean() > 0.999
    meta, geometries, _ = read(result.polygon_files["geopackage"])
    assert meta["crs"] == crs
    to_lonlat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corners = np.array([to_lonlat.transform(*xy) for xy in shapely.get_coordinates(geometries)])
    assert (corners.min(0) >= np.array([west, south]) - 1e-5).all()
    assert (corners.max(0) <= np.array([east, north]) + 1e-5).all()
    _in_the_picture(result, geometries, Affine(*transform[:6]), (height, width))


def _in_the_picture(result: Prediction, geometries: list[Any], transform: Affine, size: tuple[int, int]) -> None:
    """The preview is more orange on the outlines of large objects than elsewhere."""
    picture = np.asarray(Image.open(result.preview)).astype(int)
    scale = np.array([picture.shape[1] / size[1], picture.shape[0] / size[0]])
    orange = np.abs(picture - PREDICTION).max(axis=-1) < 80
    largest = sorted(geometries, key=lambda polygon: -polygon.area)[:20]
    lines = [polygon.exterior.interpolate(np.linspace(0, 1, 200), normalized=True) for polygon in largest]
    points = np.array([~transform @ (point.x, point.y) for line in lines for point in line]) * scale
    columns, rows = points.astype(int).clip(0, np.array(picture.shape[1::-1]) - 1).T
    assert orange[rows, columns].mean() > 0.8
    assert orange.mean() < 0.5
