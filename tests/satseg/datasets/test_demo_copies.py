"""Changed copies of given scenes: what must stay stays, what is stated changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from satseg.datasets import demo_copies
from satseg.datasets.demo_changes import Change, blurred
from satseg.datasets.demo_copies import write_copies
from satseg.errors import BadDataError, ConfigurationError

PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 40_000)
LABELME = {"version": "5.5.0", "shapes": [], "imagePath": "a.tif", "imageData": "AAAA", "imageWidth": 96}


def write(path: Path, pixels: NDArray[Any], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    profile = {"driver": "GTiff", "crs": "EPSG:32636", "transform": PLACE} | more
    size = {"width": width, "height": height, "count": bands, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", **profile, **size) as dataset:
        dataset.write(pixels)
    return path


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(20, 235, (3, 96, 130), dtype=np.uint8)


def test_place_type_and_labels_stay(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    write(tmp_path / "in/a.tif", picture)
    (tmp_path / "in/a.json").write_text(json.dumps(LABELME))
    (tmp_path / "in/labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert write_copies(tmp_path / "out", tmp_path / "in", Change(gain=0.5)) == ["a_changed"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_changed.json", "a_changed.tif"]
    with rasterio.open(tmp_path / "out/a_changed.tif") as copy:
        assert (copy.transform, copy.crs.to_epsg(), copy.dtypes, copy.count) == (PLACE, 32636, ("uint8",) * 3, 3)
        np.testing.assert_array_equal(copy.read(), np.rint(picture * 0.5))
    labels = json.loads((tmp_path / "out/a_changed.json").read_text())
    assert labels == LABELME | {"imagePath": "a_changed.tif", "imageData": None}


def test_a_folder_level_label_file_is_copied_once(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    for name in "ab":
        write(tmp_path / f"in/{name}.tif", picture)
    (tmp_path / "in/labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    write_copies(tmp_path / "out", tmp_path / "in", Change(noise_dn=1), suffix="night")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_night.tif",
        "b_night.tif",
        "labels.geojson",
    ]
    assert read(tmp_path / "out/a_night.tif").tolist() != read(tmp_path / "out/b_night.tif").tolist()
    write_copies(tmp_path / "bare", tmp_path / "in", Change(), labelled=False)
    assert not (tmp_path / "bare/labels.geojson").exists()


def test_blocks_leave_no_seams(tmp_path: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in/a.tif", picture)
    monkeypatch.setattr(demo_copies, "_BLOCK_PX", 16)
    write_copies(tmp_path / "out", tmp_path / "in", Change(blur_px=2, haze=0.3))
    whole = Change(haze=0.3).apply(picture.transpose(1, 2, 0).astype(np.float32), 255, np.random.default_rng(0))
    expected = blurred(whole, 2).transpose(2, 0, 1)
    np.testing.assert_allclose(read(tmp_path / "out/a_changed.tif"), expected, atol=0.51)


def test_nodata_stays_and_nothing_becomes_nodata(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 4000, (5, 96, 96), dtype=np.uint16)
    values[:, :10] = 0
    write(tmp_path / "in/a.tif", values, nodata=0)
    write_copies(tmp_path / "out", tmp_path / "in", Change(gain=0.1, noise_dn=30, blur_px=1, haze=0.1))
    copy = read(tmp_path / "out/a_changed.tif")
    assert copy.dtype == np.uint16
    assert (copy[:, :10] == 0).all() and (copy[:, 10:] > 0).all()


def test_haze_of_deep_pixels_is_scaled_to_what_the_sensor_uses(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 4000, (3, 96, 96), dtype=np.uint16)
    write(tmp_path / "in/a.tif", values)
    write_copies(tmp_path / "out", tmp_path / "in", Change(haze=1))
    assert 2500 < read(tmp_path / "out/a_changed.tif").mean() < 4000


def test_alpha_is_left_alone(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    alpha = np.full((1, 96, 130), 255, np.uint8)
    alpha[0, :, :20] = 0
    path = write(tmp_path / "in/a.tif", np.concatenate([picture, alpha]), photometric="RGB", alpha="yes")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    write_copies(tmp_path / "out", tmp_path / "in", Change(gain=1.5))
    copy = read(tmp_path / "out/a_changed.tif")
    np.testing.assert_array_equal(copy[3], alpha[0])
    np.testing.assert_array_equal(copy[:3, :, 20:], np.clip(np.rint(picture * 1.5), 0, 255)[:, :, 20:])


def test_a_png_with_world_file_and_prj_keeps_its_place(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    write(tmp_path / "in/a.png", picture, driver="PNG", crs=None, transform=None)
    (tmp_path / "in/a.png.aux.xml").unlink(missing_ok=True)
    (tmp_path / "in/a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n39999.75\n")
    (tmp_path / "in/a.prj").write_text(rasterio.crs.CRS.from_epsg(32636).to_wkt())
    write_copies(tmp_path / "out", tmp_path / "in", Change(noise_dn=1))
    with rasterio.open(tmp_path / "out/a_changed.tif") as copy:
        assert copy.crs.to_epsg() == 32636 and copy.transform == PLACE


def test_unreadable_scenes_are_named_and_left_out(
    tmp_path: Path, picture: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in/good.tif", picture)
    (tmp_path / "in/bad.tif").write_text("no raster")
    assert write_copies(tmp_path / "out", tmp_path / "in", Change()) == ["good_changed"]
    assert "bad.tif left out" in capsys.readouterr().err
    (tmp_path / "in/good.tif").unlink()
    with pytest.raises(BadDataError, match="None of the 1 scenes"):
        write_copies(tmp_path / "none", tmp_path / "in", Change())
    assert list((tmp_path / "none").iterdir()) == []


def test_bad_folders_are_refused(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        write_copies(tmp_path / "out", tmp_path / "in", Change())
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigurationError, match="no scene in this folder"):
        write_copies(tmp_path / "out", tmp_path / "in", Change())
    write(tmp_path / "in/a.tif", picture)
    with pytest.raises(ConfigurationError, match="lies in the folder of --from"):
        write_copies(tmp_path / "in/out", tmp_path / "in", Change())
    with pytest.raises(ConfigurationError, match="--suffix"):
        write_copies(tmp_path / "out", tmp_path / "in", Change(), suffix="a/b")
