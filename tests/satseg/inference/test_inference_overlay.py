import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from shapely.geometry import Polygon, box, mapping

from satseg.annotations.table import AnnotationTable, LabelledPolygon
from satseg.inference.overlay import draw_overlay
from satseg.inference.palette import LABEL, PREDICTION

SceneWriter = Callable[..., Path]


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 60)


def geojson(path: Path, *polygons: Polygon) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": mapping(polygon)} for polygon in polygons]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1))
    return path


def test_outlines_are_drawn_where_the_polygons_lie(write_scene: SceneWriter, tmp_path: Path) -> None:
    scene = write_scene(size=(100, 200), rectangles=())
    predicted = geojson(
        tmp_path / "p.geojson", box(450_010, 3_999_970, 450_040, 3_999_990)
    )  # rows 20-60, columns 20-80
    labels = AnnotationTable((LabelledPolygon(box(450_060, 3_999_970, 450_090, 3_999_990), 1, "building"),))
    draw_overlay(scene, predicted, labels, tmp_path / "overlay.png")
    picture = np.asarray(Image.open(tmp_path / "overlay.png"))
    assert picture.shape == (100, 200, 3)
    assert near(picture[40, 20], PREDICTION)
    assert near(picture[20, 50], PREDICTION)
    assert near(picture[40, 120], LABEL)
    assert not near(picture[40, 50], PREDICTION)  # filled lightly
    assert picture[40, 50].max() > picture[40, 100].max()
    assert (picture[40, 150] == picture[90, 5]).all()  # labels are not filled


def test_an_island_in_a_courtyard_is_kept(write_scene: SceneWriter, tmp_path: Path) -> None:
    scene = write_scene(size=(100, 100), crs=None, rectangles=())
    island = box(45, 45, 55, 55)
    ring = Polygon(box(10, 10, 90, 90).exterior, [box(30, 30, 70, 70).exterior.coords])
    draw_overlay(scene, geojson(tmp_path / "p.geojson", island, ring), None, tmp_path / "overlay.png")
    picture = np.asarray(Image.open(tmp_path / "overlay.png"))
    assert near(picture[45, 50], PREDICTION)
    assert picture[50, 50].sum() == picture[20, 20].sum() > picture[37, 37].sum()


def test_pictures_are_shrunk_and_never_enlarged(write_scene: SceneWriter, tmp_path: Path) -> None:
    scene = write_scene(size=(100, 400), bands=1)
    draw_overlay(scene, None, None, tmp_path / "overlay.png", max_px=200)
    assert Image.open(tmp_path / "overlay.png").size == (200, 50)
