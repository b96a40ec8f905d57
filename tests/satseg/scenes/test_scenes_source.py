import numpy as np
import pytest
from affine import Affine

from satseg.errors import BadDataError
from satseg.scenes.source import read_header


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello, I am a text file", "not a GeoTIFF, PNG or JPEG"),
        (b"<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>", "not a GeoTIFF, PNG or JPEG"),
        (b"II*\0\x08\0\0\0", "damaged or truncated"),
    ],
)
def test_what_is_no_raster_is_refused_with_the_reason(tmp_path, content, words):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=words):
        read_header(path)


def test_a_png_without_world_file_is_in_pixel_space(write_raster, pixels):
    header = read_header(write_raster("a.png", pixels, driver="PNG"))
    assert header.grid.crs is None
    assert header.grid.transform == Affine.identity()
    assert header.notes == ()


def test_a_world_file_alone_leaves_a_scene_in_pixel_space_and_says_so(write_raster, pixels):
    path = write_raster("a.png", pixels, driver="PNG")
    path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n39999.75\n")
    header = read_header(path)
    assert header.grid.crs is None
    assert header.grid.transform == Affine.identity()
    assert "no CRS" in header.notes[0]


def test_a_world_file_with_prj_places_a_png(write_raster, pixels):
    from rasterio.crs import CRS

    path = write_raster("a.png", pixels, driver="PNG")
    path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n39999.75\n")
    path.with_suffix(".prj").write_text(CRS.from_epsg(32636).to_wkt())
    header = read_header(path)
    assert header.grid.crs == "EPSG:32636"
    assert header.grid.transform == Affine(0.5, 0, 500_000, 0, -0.5, 40_000)


def test_nodata_that_the_type_cannot_hold_is_ignored_and_said(write_raster, pixels):
    path = write_raster("a.tif", pixels)
    header = read_header(path)
    assert header.nodata is None
    floats = read_header(write_raster("b.tif", np.zeros((8, 8, 1), dtype=np.float32)))
    assert np.isnan(floats.nodata)


@pytest.mark.parametrize("crs", ["EPSG:4978", 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_a_crs_that_is_no_map_leaves_a_scene_in_pixel_space_and_says_so(write_raster, pixels, crs):
    header = read_header(write_raster("a.tif", pixels, crs=crs))
    assert (header.grid.crs, header.grid.transform) == (None, Affine.identity())
    assert any("kept in pixel space" in note for note in header.notes)


def test_a_compound_crs_places_a_scene(write_raster, pixels):
    assert read_header(write_raster("a.tif", pixels, crs="EPSG:32636+5773")).grid.crs is not None
