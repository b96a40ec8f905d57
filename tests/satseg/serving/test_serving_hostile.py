"""Requests no honest client sends: each gets a 4xx with a reason, memory stays flat, and the service goes on."""

import io
import json
import socket
import threading
import time
import zipfile
import zlib

import httpx
import numpy as np
import psutil
import pytest
from affine import Affine
from PIL import Image
from serving_pictures import jpeg, png, png_header, tiff, tiff_header
from serving_world import BODY_TIMEOUT_S, MAX_BODY

SMALL = np.full((64, 64, 3), 90, np.uint8)
RNG = np.random.default_rng(7)


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    return stream.getvalue()


def of_mode(mode, size=(64, 64)):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


def nan_tiff():
    return tiff(np.full((64, 64, 3), np.nan, np.float32))


def bomb():
    """A PNG of 30,000 x 30,000 pixels; a thousand rows of them are really there, packed into 400 kB."""
    packer = zlib.compressobj(1)
    row = b"\0" * (3 * 30_000 + 1)
    return png_header(30_000, 30_000, body=b"".join(packer.compress(row) for _ in range(1_000)) + packer.flush())


BODIES = {
    "empty": (b"", 415),
    "one byte": (b"\x89", 415),
    "text": (b"hello", 415),
    "html": (b"<html><script>alert(1)</script>", 415),
    "sql": (b"'; DROP TABLE model_versions; --", 415),
    "json": (b'{"image": "/etc/passwd"}', 415),
    "vrt": (
        b'<VRTDataset rasterXSize="9" rasterYSize="9"><SourceFilename>/etc/passwd</SourceFilename></VRTDataset>',
        415,
    ),
    "zip": (zipped(), 415),
    "gif": (b"GIF89a\x40\0\x40\0\0\0\0,", 415),
    "bmp": (b"BM" + b"\0" * 100, 415),
    "svg": (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>", 415),
    "elf": (b"\x7fELF" + b"\0" * 100, 415),
    "pickle": (b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.", 415),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 100, 415),
    "webp": (b"RIFF\x24\0\0\0WEBPVP8 ", 415),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", 415),
    "random": (RNG.bytes(5000), 415),
    "png magic alone": (b"\x89PNG\r\n\x1a\n", 422),
    "tiff magic alone": (b"II*\0", 422),
    "jpeg magic alone": (b"\xff\xd8\xff", 422),
    "tiff magic and noise": (b"II*\0" + RNG.bytes(5000), 422),
    "bigtiff magic and noise": (b"MM\0+" + RNG.bytes(5000), 422),
    "png truncated": (png(SMALL)[:-30], 422),
    "jpeg truncated": (jpeg(RNG.integers(0, 255, (64, 64, 3)).astype(np.uint8))[:-900], 422),
    "tiff truncated": (tiff(RNG.integers(0, 255, (64, 64, 3)).astype(np.uint8))[:3000], 422),
    "png with damaged pixels": (png_header(64, 64, body=b"not deflate"), 422),
    "tiff that reads itself for ever": (b"II*\0" + b"\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0", 422),
    "png of 100k x 100k": (png_header(100_000, 100_000), 413),
    "png of 2^31 x 2^31": (png_header(2**31 - 1, 2**31 - 1), 422),
    "png of 0 x 0": (png_header(0, 0), 422),
    "tiff of 100k x 100k": (tiff_header(100_000, 100_000), 413),
    "tiff with tiles of 65,536": (tiff_header(64, 64, tile=65_536), 413),
    "tiff of 60,000 bands": (tiff_header(64, 64, bands=60_000), 422),
    "bomb": (bomb(), 413),
    "one band": (of_mode("L"), 422),
    "palette": (of_mode("P"), 422),
    "one bit": (of_mode("1"), 422),
    "sixteen bits": (of_mode("I;16"), 422),
    "floats that are no numbers": (nan_tiff(), 422),
    "complex numbers": (tiff(np.zeros((64, 64, 3), np.complex64)), 422),
    "four bands": (tiff(np.zeros((64, 64, 4), np.uint16)), 422),
    "pixels of a kilometre": (tiff(SMALL, Affine(1000, 0, 0, 0, -1000, 0), "EPSG:32633"), 413),
    "body too large": (b"\x89PNG\r\n\x1a\n" + b"\0" * MAX_BODY, 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_hostile_body_gets_a_4xx_with_a_reason(live, name):
    body, status = BODIES[name]
    response = live.post(body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"].endswith((".", ")", "origin"))
    assert "/tmp" not in response.text and "Traceback" not in response.text


REQUESTS = {
    "unknown path": ("GET", "/v1/../../etc/passwd", {}, 404),
    "encoded path": ("GET", "/v1/%2e%2e/%2e%2e/etc/passwd", {}, 404),
    "zero byte in the path": ("GET", "/v1/model%00.png", {}, 404),
    "sql in the query": ("POST", "/v1/segment?model=1'%20OR%20'1'='1", {}, 415),
    "wrong method": ("PUT", "/v1/segment", {}, 405),
    "get instead of post": ("GET", "/v1/segment", {}, 405),
    "no such format": ("POST", "/v1/segment", {"accept": "text/html"}, 406),
    "refused by quality": ("POST", "/v1/segment", {"accept": "image/png;q=0"}, 406),
    "accept of 5,000 parts": ("POST", "/v1/segment", {"accept": ",".join(["text/x"] * 5000)}, 406),
    "other host": ("POST", "/v1/segment", {"host": "evil.example.org"}, 421),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile_request_gets_a_4xx(live, name):
    method, path, headers, status = REQUESTS[name]
    response = httpx.request(method, live.url + path, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == response.json()["request_id"]


def raw(live, text, wait_s=5.0):
    """Send bytes as they are and return what comes back before the connection ends or the time is over."""
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.sendall(text)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            pass
        return received


def head(*lines):
    return "\r\n".join(["POST /v1/segment HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("Content-Length: 1000"), b"408"),  # the body never comes
        (head("Content-Length: 99999999999"), b"413"),
        (head("Content-Length: -5"), b"400"),
        (head("Content-Length: 5", "Content-Length: 6") + b"hello", b"400"),
        (head("Transfer-Encoding: chunked") + b"zz\r\nhello", b"400"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"400"),  # TLS
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 100_000, b"400"),
        (b"GE\0T / HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_hostile_bytes_get_a_4xx_or_the_connection_is_closed(live, request_bytes, status):
    received = raw(live, request_bytes)
    assert received.startswith(b"HTTP/1.1 " + status), received[:100]


def test_silent_connection_is_closed(live):
    started = time.monotonic()
    assert raw(live, b"POST /v1/seg") == b""
    assert BODY_TIMEOUT_S * 0.8 < time.monotonic() - started < BODY_TIMEOUT_S + 2


def test_body_that_drips_is_given_up(live):
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head("Content-Length: 100000"))
        stopped = threading.Event()

        def drip():
            while not stopped.wait(0.05):
                try:
                    connection.sendall(b"\x89")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        answer = connection.recv(65536)
        stopped.set()
        thread.join()
    assert answer.startswith(b"HTTP/1.1 408")


def test_body_without_a_length_is_cut_off_at_the_limit(live):
    sent = 0

    def endless():
        nonlocal sent
        yield b"\x89PNG\r\n\x1a\n"
        while sent < 20 * MAX_BODY:
            sent += 65536
            yield b"\0" * 65536

    try:
        status = httpx.post(f"{live.url}/v1/segment", content=endless(), timeout=10).status_code
    except httpx.TransportError:  # the answer may be lost with the connection
        status = 413
    assert status == 413
    assert sent < 20 * MAX_BODY


@pytest.mark.slow
def test_memory_is_flat_and_the_service_up_after_all_of_it_again(live, image):
    process = psutil.Process()
    live.post(png(image))
    peak, stopped = [process.memory_info().rss], threading.Event()

    def watch():
        while not stopped.wait(0.01):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    before = peak[0]
    thread.start()
    for body, _ in [*BODIES.values()] * 2:
        live.post(body)
    stopped.set()
    thread.join()
    assert peak[0] - before < 100 * 2**20
    assert live.post(png(image)).status_code == 200
    assert live.metric("satseg_requests_held") == 0
    assert json.loads(httpx.get(f"{live.url}/readyz").text)["status"] == "ready"
