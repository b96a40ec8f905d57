"""What comes back for an image: the right pixels, in the format asked for, at the right place."""

import io
import json

import httpx
import numpy as np
import pytest
from affine import Affine
from PIL import Image
from serving_pictures import jpeg, png, read_tiff, tiff

UTM = Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)


def expected(image):
    """The tiny model by plain NumPy."""
    return (image[..., 0].astype(np.float32) / 255 >= 0.5).astype(np.uint8)


def ids_of(response):
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_png_mask_has_the_images_size_and_class_ids_as_values(live, image):
    response = live.post(png(image))
    assert response.headers["content-type"] == "image/png"
    assert np.array_equal(ids_of(response), expected(image))
    assert Image.open(io.BytesIO(response.content)).getpalette()[3:6] == [230, 159, 0]
    assert response.headers["x-model-version"] == "v1"
    assert response.headers["x-engine"] == "onnx"
    confidence = np.maximum(image[..., 0] / 255, 1 - image[..., 0] / 255).mean()
    assert float(response.headers["x-mean-confidence"]) == pytest.approx(confidence, abs=1e-3)


def test_image_larger_than_a_tile_has_the_same_mask_as_in_one_piece(live):
    big = np.random.default_rng(1).integers(0, 256, (201, 333, 3)).astype(np.uint8)
    assert np.array_equal(ids_of(live.post(png(big))), expected(big))


def test_jpeg_is_read(live, image):
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(image))))
    assert (ids_of(live.post(jpeg(image))) == expected(decoded)).mean() > 0.999  # decoders differ by a grey level


def test_geotiff_comes_back_at_its_place(live, image):
    response = live.post(tiff(image, UTM, "EPSG:32633"), "image/tiff")
    ids, about = read_tiff(response.content)
    assert np.array_equal(ids, expected(image))
    assert about["crs"].to_epsg() == 32633
    assert about["transform"] == UTM
    assert about["tags"]["class_1"] == "building"
    assert about["tags"]["satseg_model"] == "v1"
    assert about["colours"][1][:3] == (230, 159, 0)


def test_polygons_are_in_the_crs_of_the_image_with_their_area(live, image):
    response = live.post(tiff(image, UTM, "EPSG:32633"), "application/geo+json")
    found = json.loads(response.content)
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    [feature] = found["features"]
    assert feature["properties"]["class"] == "building"
    assert feature["properties"]["area_m2"] == pytest.approx(20 * 30 * 0.25, rel=0.01)
    assert feature["properties"]["confidence"] == pytest.approx(230 / 255, abs=0.01)
    xs, ys = np.asarray(feature["geometry"]["coordinates"][0]).T
    assert (xs.min(), xs.max()) == (450_000 + 40 * 0.5, 450_000 + 70 * 0.5)
    assert (ys.min(), ys.max()) == (4_000_000 - 30 * 0.5, 4_000_000 - 10 * 0.5)


def test_image_without_a_crs_gives_pixel_coordinates_and_says_so(live, image):
    response = live.post(png(image), "application/geo+json")
    assert "pixel coordinates" in response.headers["x-note"]
    assert response.json()["satseg:coordinates"] == "pixels"


def test_other_ground_sample_distance_is_read_at_the_models_and_brought_back(live):
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 10:50, 0] = 255
    response = live.post(tiff(image, UTM @ Affine.scale(2), "EPSG:32633"), "image/tiff")
    ids, about = read_tiff(response.content)
    assert ids.shape == (60, 60)
    assert about["transform"] == UTM @ Affine.scale(2)
    assert (ids == expected(image)).mean() > 0.95
    assert "is read at the model's GSD of 0.5 m" in response.headers["x-note"]


def test_nodata_is_background_whatever_the_model_says(live, image):
    image[50:60, :, :] = 255
    ids, _ = read_tiff(live.post(tiff(image, UTM, "EPSG:32633", nodata=255), "image/tiff").content)
    assert ids[10:30, 40:70].all()
    assert not ids[50:60].any()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("application/json", "application/geo+json"),
        ("image/png;q=0.2, image/tiff", "image/tiff"),
        ("text/html, image/tiff;q=0.5, application/geo+json;q=0.9", "application/geo+json"),
        ("IMAGE/TIFF", "image/tiff"),
    ],
)
def test_accept_header_chooses_the_format(live, image, accept, kind):
    headers = {"accept": accept} if accept else {}
    response = httpx.post(f"{live.url}/v1/segment", content=png(image), headers=headers)
    assert response.headers["content-type"] == kind


def test_model_says_what_images_it_takes(live):
    told = httpx.get(f"{live.url}/v1/model").json()
    assert told["version"] == "v1"
    assert told["bands"] == ["red", "green", "blue"]
    assert (told["dtype"], told["classes"], told["engine"]) == ("uint8", ["building"], "onnx")


def test_request_ids_are_kept_when_they_are_harmless(live, image):
    assert live.post(png(image), **{"x-request-id": "job-7.a"}).headers["x-request-id"] == "job-7.a"
    made = live.post(b"no image", **{"x-request-id": "a b'; DROP TABLE"})
    assert made.headers["x-request-id"] == made.json()["request_id"]
    assert len(made.json()["request_id"]) == 32


def test_figures_count_requests_pixels_and_batches(live, image):
    before = live.metric("satseg_pixels_total"), live.metric('satseg_requests_total{path="/v1/segment",status="200"}')
    live.post(png(image))
    assert live.metric("satseg_pixels_total") == before[0] + 90 * 100
    assert live.metric('satseg_requests_total{path="/v1/segment",status="200"}') == before[1] + 1
    assert live.metric("satseg_batch_tiles_count") > 0
    assert live.metric('satseg_model{engine="onnx",version="v1"}') == 1
