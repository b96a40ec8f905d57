"""The dataset's catalog is valid STAC: pystac checks it against schemas that lie here, without a network."""

from collections.abc import Callable
from typing import Any

import pystac
import pystac.validation
import pytest
from affine import Affine
from dataset_drops import HOUSE, write_labels, write_scene
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_schemas import extension_schemas

from satseg.config.project import ProjectConfig
from satseg.datasets.checkouts import checkout
from satseg.datasets.ingest import run
from satseg.stages import IngestSpec
from satseg.storage.layout import Workspace

pytestmark = pytest.mark.slow

ALBERS = (
    'PROJCS["somewhere",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],'
    'PARAMETER["standard_parallel_1",-3],PARAMETER["standard_parallel_2",5],PARAMETER["latitude_of_center",1],'
    'PARAMETER["longitude_of_center",33],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


@pytest.fixture
def offline(monkeypatch):
    """pystac with the schemas of the extensions, cut off from the network."""
    validator = JsonSchemaSTACValidator()
    validator.schema_cache |= extension_schemas()
    monkeypatch.setattr(pystac.validation.RegisteredValidator, "_validator", validator)
    original = pystac.StacIO.default

    class Local(type(original())):
        def read_text(self, source: Any, *args: Any, **options: Any) -> str:
            assert "://" not in str(source), f"{source} would be loaded from the network"
            return super().read_text(source, *args, **options)

    monkeypatch.setattr(pystac.StacIO, "_default_io", Local)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Scenes with and without CRS, EPSG code, labels and nodata, of several types."""
    root = tmp_path_factory.mktemp("stac")
    drop = root / "drop"
    write_scene(drop / "plain.tif", seed=1)
    write_scene(drop / "sixteen.tif", seed=2, dtype="uint16", nodata=0)
    write_scene(drop / "float.tif", seed=3, dtype="float32", nodata=float("nan"))
    write_scene(drop / "pixels.png", seed=4, driver="PNG", crs=None, transform=None)
    write_scene(drop / "unregistered.tif", seed=5, crs=ALBERS)
    write_scene(drop / "degrees.tif", seed=6, crs="EPSG:4326", transform=Affine(1e-5, 0, 33, 0, -1e-5, 0.3))
    write_labels(drop / "plain.json", HOUSE)
    write_labels(drop / "pixels.json")
    project = ProjectConfig(name="roofs", classes=("building",))
    found = run(IngestSpec(project=project, source=drop), Workspace(root / "workspace"))
    assert len(found.scenes) == 6, found
    return Workspace(root / "workspace")


@pytest.fixture
def dataset(workspace: Workspace) -> pystac.Collection:
    return pystac.Collection.from_file(str(workspace.dataset("roofs") / "collection.json"))


def test_the_whole_catalog_is_valid(dataset, offline, workspace) -> None:
    assert dataset.validate_all() == 6
    _, folder = checkout(workspace, "roofs", "v1", None)
    assert pystac.Collection.from_file(str(folder / "collection.json")).validate_all() == 6
    assert {uri for item in dataset.get_items() for uri in item.stac_extensions} <= set(extension_schemas())


def spoil_code(item: pystac.Item) -> None:
    item.properties["proj:epsg"] = 32636


def spoil_checksum(item: pystac.Item) -> None:
    item.assets["scene"].extra_fields["file:checksum"] = "md5"


def spoil_type(item: pystac.Item) -> None:
    item.assets["scene"].extra_fields["raster:bands"][0]["data_type"] = "byte"


def spoil_label(item: pystac.Item) -> None:
    del item.properties["label:description"]


def spoil_band(item: pystac.Item) -> None:
    item.assets["scene"].extra_fields["eo:bands"][0]["common_name"] = "ultraviolet"


def spoil_core(item: pystac.Item) -> None:
    item.properties["gsd"] = "coarse"


@pytest.mark.parametrize("spoil", [spoil_code, spoil_checksum, spoil_type, spoil_label, spoil_band, spoil_core])
def test_what_is_no_stac_is_noticed(dataset, offline, spoil: Callable[[pystac.Item], None]) -> None:
    item = dataset.get_item("plain")
    assert item is not None
    item.validate()
    spoil(item)
    with pytest.raises(pystac.STACValidationError):
        item.validate()
