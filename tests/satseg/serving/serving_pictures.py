"""Images as a client sends them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def tiff(pixels: np.ndarray, transform: Affine | None = None, crs: str | None = None, **profile: Any) -> bytes:
    height, width, bands = pixels.shape
    options = {"driver": "GTiff", "dtype": pixels.dtype, "height": height, "width": width, "count": bands, **profile}
    if crs:
        options |= {"crs": crs, "transform": transform}
    with MemoryFile() as memory:
        with memory.open(**options) as dataset:
            dataset.write(pixels.transpose(2, 0, 1))
        return bytes(memory.read())


def read_tiff(body: bytes) -> tuple[np.ndarray, Any]:
    with MemoryFile(body) as memory, memory.open() as dataset:
        return dataset.read(1), {
            "crs": dataset.crs,
            "transform": dataset.transform,
            "tags": dataset.tags(),
            "colours": dataset.colormap(1),
        }


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, body: bytes = b"") -> bytes:
    """A PNG that promises a size; its pixels are `body`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_header(width: int, height: int, bands: int = 3, tile: int | None = None) -> bytes:
    """A TIFF that promises a size and holds no pixels."""
    tags: list[tuple[int, int, int, int]] = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 2),
        (277, 3, 1, bands),
        (284, 3, 1, 1),
    ]
    if tile:
        tags += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, 8), (325, 4, 1, 10)]
    else:
        tags += [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 10)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
