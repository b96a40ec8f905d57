import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from satseg.errors import BadDataError
from satseg.scenes import cog
from satseg.scenes.cog import to_cog


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_cog_keeps_the_pixels_and_has_tiles_and_overviews(write_raster, tmp_path, dtype):
    image = (np.random.default_rng(1).random((700, 1100, 2)) * 200).astype(dtype)
    source = write_raster("t.tif", image, crs="EPSG:32636")
    to_cog(source, tmp_path / "cog.tif", descriptions=["red", "nir"], tags={"MADE_BY": "test"})
    with rasterio.open(tmp_path / "cog.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert found.profile["compress"] == "deflate"
        assert found.block_shapes == [(512, 512)] * 2
        assert found.overviews(1)
        assert found.descriptions == ("red", "nir")
        assert found.tags()["MADE_BY"] == "test"
        assert found.crs.to_epsg() == 32636
        assert np.array_equal(found.read(), image.transpose(2, 0, 1))


def test_equal_input_gives_equal_bytes(write_raster, tmp_path, pixels):
    digests = set()
    for name in ("one", "two"):
        to_cog(write_raster(f"{name}.tif", pixels, crs="EPSG:3857"), tmp_path / f"{name}-cog.tif")
        digests.add(hashlib.sha256((tmp_path / f"{name}-cog.tif").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_class_maps_get_colours_and_nodata(write_raster, tmp_path):
    classes = np.random.default_rng(2).integers(0, 3, (600, 600, 1), dtype=np.uint8)
    colours = {0: (0, 0, 0, 0), 1: (255, 0, 0, 255), 2: (0, 0, 255, 255)}
    to_cog(
        write_raster("t.tif", classes), tmp_path / "c.tif", colormap=colours, overview_resampling="nearest", nodata=255
    )
    with rasterio.open(tmp_path / "c.tif") as cog:
        assert cog.colorinterp == (ColorInterp.palette,)
        assert cog.colormap(1)[1] == (255, 0, 0, 255)
        assert cog.nodata == 255
        assert set(np.unique(cog.read(out_shape=(1, 100, 100)))) <= {0, 1, 2}


def test_a_source_that_cannot_be_read_leaves_nothing(tmp_path):
    broken = tmp_path / "t.tif"
    broken.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(BadDataError, match="Cloud-Optimized"):
        to_cog(broken, tmp_path / "cog.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tif"]


def test_a_full_disk_is_no_fault_of_the_scene(write_raster, tmp_path, monkeypatch):
    image = np.random.default_rng(3).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    source = write_raster("t.tif", image)
    source.write_bytes(source.read_bytes()[:-50_000])  # GDAL stops in the middle, as it does when it cannot write
    monkeypatch.setattr(cog.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="No space left"):
        to_cog(source, tmp_path / "cog.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tif"]
