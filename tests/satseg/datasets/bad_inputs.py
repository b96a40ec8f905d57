"""A corpus of files that no ingest can use as they are, made by the tests: what they are, and what is said of them."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from dataset_drops import BOW_TIE, HOUSE, SIZE, write_labels, write_scene

Make = Callable[[Path], object]
HERE = Affine(0.5, 0, 500_000, 0, -0.5, 40_000)
PROJECT = {"name": "roofs", "classes": ["building"], "validation": {"crs": ["EPSG:32636"], "gsd_range_m": [0.1, 2]}}


@dataclass(frozen=True)
class BadInput:
    """One bad input: `make` writes it into the drop; `words` stand in the reasons (or in the warning) about `scene`.

    `fate` is "quarantined", "accepted" (with a warning that holds the words) or "warned" (it cannot be a file, and a
    warning says so).
    """

    name: str
    make: Make
    words: str
    scene: str
    fate: str = "quarantined"


def corpus() -> list[BadInput]:
    """Return all bad inputs; names are unique."""
    return [*_rasters(), *_geography(), *_labels(), *_file_system(), *_names()]


def _rasters() -> list[BadInput]:
    damaged = "damaged or truncated"
    found = [
        BadInput(f"cut-{tenth}.tif", _cut(tenth, "GTiff"), damaged if tenth else "0 bytes", f"cut-{tenth}")
        for tenth in range(10)
    ]
    found += [
        BadInput(f"png-{tenth}.png", _cut(tenth, "PNG"), damaged if tenth else "0 bytes", f"png-{tenth}")
        for tenth in (0, 3, 6, 9)
    ]
    found += [
        BadInput(f"jpeg-{tenth}.jpg", _cut(tenth, "JPEG"), damaged if tenth else "0 bytes", f"jpeg-{tenth}")
        for tenth in (0, 2, 5, 9)
    ]
    foreign = {"text": b"I am a text.", "zip": b"PK\3\4" + bytes(99), "html": b"<!doctype html>", "elf": b"\x7fELF"}
    found += [
        BadInput(f"{kind}.tif", _bytes(content), "not a GeoTIFF, PNG or JPEG", kind)
        for kind, content in foreign.items()
    ]
    found += [
        BadInput("magic-only.tif", _bytes(b"II*\0"), damaged, "magic-only"),
        BadInput("zero-size.tif", _bytes(_tiff(0, 0)), "damaged", "zero-size"),
        BadInput("zero-png.png", _bytes(_png(0, 0)), "damaged", "zero-png"),
        BadInput("endless.tif", _bytes(_tiff(400_000, 400_000)), "endless.tif", "endless"),
        BadInput("looping.tif", _bytes(_looping_tiff()), "looping.tif", "looping"),
        BadInput("bitten.tif", _bitten, damaged, "bitten"),
        BadInput("nan.tif", _pixels(np.nan), "no valid pixel", "nan"),
        BadInput("infinite.tif", _pixels(np.inf), "infinite pixel values", "infinite"),
        BadInput("empty.tif", _scene(nodata=7, fill=7), "no valid pixel", "empty"),
        BadInput("tiny.tif", _scene(width=10, height=10), "10 px wide", "tiny"),
        BadInput("line.tif", _scene(height=1), "1 px high", "line"),
    ]
    found += [
        BadInput(f"bands-{count}.tif", _scene(bands=count), f"has {count} bands, expected 3", f"bands-{count}")
        for count in (1, 2, 5, 17)
    ]
    found += [
        BadInput(f"{dtype}.tif", _scene(dtype=dtype), f"pixels of type {dtype}", dtype)
        for dtype in ("float64", "int32", "uint32", "complex64")
    ]
    return [*found, BadInput("palette.tif", _palette, "palette", "palette")]


def _geography() -> list[BadInput]:
    return [
        BadInput("no-crs.tif", _scene(crs=None), "has the CRS none, expected EPSG:32636", "no-crs"),
        BadInput("other-crs.tif", _scene(crs="EPSG:3857"), "has the CRS EPSG:3857", "other-crs"),
        BadInput("local-crs.tif", _scene(crs='LOCAL_CS["nonsense",UNIT["metre",1]]'), "CRS", "local-crs"),
        BadInput("coarse.tif", _scene(transform=Affine(30, 0, 500_000, 0, -30, 40_000)), "GSD of 30 m", "coarse"),
        BadInput("nowhere.tif", _scene(transform=Affine(0.5, 0, 9e9, 0, -0.5, 9e9)), "on Earth", "nowhere"),
        BadInput("nan-place.tif", _scene(transform=Affine(0.5, 0, np.nan, 0, -0.5, 0)), "nan", "nan-place"),
        BadInput("flat.tif", _scene(transform=Affine(0.5, 0.5, 500_000, 0.5, 0.5, 40_000)), "on Earth", "flat"),
    ]


def _labels() -> list[BadInput]:
    good = json.dumps({"shapes": [{"label": "building", "points": HOUSE, "shape_type": "polygon"}]})
    texts = {
        "cut-early": (good[:20], "not valid JSON"),
        "cut-late": (good[:-3], "not valid JSON"),
        "nothing": ("", "not valid JSON"),
        "number": ("42", "not an object"),
        "list": ("[1, 2]", "not an object"),
        "stranger": ('{"a": 1}', "neither LabelMe"),
        "deep": ('{"shapes": ' + "[" * 200_000 + "]" * 200_000 + "}", "not valid JSON"),
        "word-points": (good.replace("[[10, 10]", '[["ten", 10]'), "word-points"),
        "flat-points": (good.replace(json.dumps(HOUSE), "[1, 2, 3]"), "flat-points"),
        "shapes-text": ('{"shapes": "all"}', "shapes"),
        "wrong-geojson": ('{"type": "FeatureCollection", "features": 7}', "features"),
        "endless-number": (good.replace("[[10, 10]", "[[1e999, 10]"), "not a finite number"),
        "nan": (good.replace("[[10, 10]", "[[NaN, 10]"), "not a finite number"),
    }
    found = [
        BadInput(f"label-{name}.json", _labelled(text.encode()), words, f"label-{name}")
        for name, (text, words) in texts.items()
    ]
    return [
        *found,
        BadInput("label-latin.json", _labelled('{"shapes": "ü"}'.encode("latin-1")), "UTF-8", "label-latin"),
        BadInput("label-binary.json", _labelled(bytes(range(256))), "UTF-8", "label-binary"),
        BadInput("label-bow-tie.json", _drawn(BOW_TIE), "repaired", "label-bow-tie", fate="accepted"),
        BadInput("label-far.json", _drawn([[9e3, 9e3], [9e3, 8e3], [8e3, 8e3]]), "lies in the scene", "label-far"),
        BadInput("label-line.json", _drawn([[1, 1], [9, 9]]), "not an area", "label-line", fate="accepted"),
        BadInput("label-million.json", _drawn(_circle(1_000_000)), "", "label-million", fate="accepted"),
        BadInput(
            "label-surrogate.json",
            _labelled(good.replace("building", "\\ud800").encode()),
            "unknown class",
            "label-surrogate",
            fate="accepted",
        ),
    ]


def _file_system() -> list[BadInput]:
    return [
        BadInput("loop.tif", lambda path: path.symlink_to(path.name), "cannot be read", "loop"),
        BadInput("dangling.tif", lambda path: path.symlink_to("/no/such/place.tif"), "cannot be read", "dangling"),
        BadInput("locked.tif", _locked(_scene()), "Permission denied", "locked"),
        BadInput("label-locked.json", _locked(_labelled(b"{}")), "Permission denied", "label-locked"),
        BadInput("label-loop.json", _label_loop, "label-loop.json", "label-loop"),
        BadInput("secret", _locked_folder, "secret cannot be read (Permission denied)", "", fate="warned"),
        BadInput("round", lambda path: path.symlink_to("."), "round is a link to a folder", "", fate="warned"),
        BadInput("pipe.tif", os.mkfifo, "pipe.tif is no regular file", "", fate="warned"),
        BadInput("folder.tif", _folder_of_text, "not a GeoTIFF", "inside"),
    ]


def _names() -> list[BadInput]:
    text = _bytes(b"text")
    wanted = "not a GeoTIFF, PNG or JPEG"
    return [
        BadInput("two  words.tif", text, wanted, "two-words"),
        BadInput("new\nline.tif", text, wanted, "new-line"),
        BadInput("Dächer-été-屋根.tif", text, wanted, "Dacher-ete"),
        BadInput("🏠.tif", text, wanted, "scene-a1965d92"),
        BadInput("up..up.tif", text, wanted, "up.up"),
        BadInput("-rf.tif", text, wanted, "rf"),
        BadInput("$(touch owned).tif", text, wanted, "touch-owned"),
        BadInput("{value} %s.tif", text, wanted, "value-s"),
        BadInput("l" * 240 + ".tif", text, wanted, "l" * 100),
        BadInput(os.fsdecode(b"broken-\xff.tif"), text, "not UTF-8", "broken"),
    ]


def _bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def _scene(fill: float | None = None, **profile: Any) -> Make:
    def make(path: Path) -> None:
        write_scene(path, seed=_seed(path), **profile)
        if fill is not None:
            with rasterio.open(path, "r+") as dataset:
                dataset.write(np.full(dataset.shape, fill, dataset.dtypes[0])[None].repeat(dataset.count, 0))

    return make


def _pixels(value: float) -> Make:
    return _scene(dtype="float32", fill=value)


def _cut(tenth: int, driver: str) -> Make:
    def make(path: Path) -> None:
        write_scene(path, seed=_seed(path), driver=driver)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * tenth // 10])

    return make


def _bitten(path: Path) -> None:
    """A compressed raster with a hole of zeros in the middle of its pixels."""
    write_scene(path, seed=_seed(path), compress="deflate")
    content = bytearray(path.read_bytes())
    content[9_000:12_000] = bytes(3_000)
    path.write_bytes(content)


def _palette(path: Path) -> None:
    write_scene(path, seed=_seed(path), bands=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})


def _labelled(content: bytes) -> Make:
    """A good scene whose label file is bad."""

    def make(path: Path) -> None:
        write_scene(path.with_suffix(".tif"), seed=_seed(path))
        path.write_bytes(content)

    return make


def _drawn(polygon: list[list[float]]) -> Make:
    def make(path: Path) -> None:
        write_scene(path.with_suffix(".tif"), seed=_seed(path))
        write_labels(path, polygon)

    return make


def _circle(vertices: int) -> list[list[float]]:
    turn = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = 30 + np.sin(50 * turn)
    points = np.stack([SIZE / 2 + radius * np.cos(turn), SIZE / 2 + radius * np.sin(turn)], axis=1)
    return points.tolist()


def _locked(make: Make) -> Make:
    def made(path: Path) -> None:
        make(path)
        path.chmod(0)

    return made


def _label_loop(path: Path) -> None:
    write_scene(path.with_suffix(".tif"), seed=_seed(path))
    path.symlink_to(path.name)


def _locked_folder(path: Path) -> None:
    path.mkdir()
    write_scene(path / "hidden-away.tif", seed=99)
    path.chmod(0)


def _folder_of_text(path: Path) -> None:
    path.mkdir()
    (path / "inside.tif").write_text("text")


def _seed(path: Path) -> int:
    """Scenes of the corpus lie side by side, so that none is a duplicate of another."""
    return 2 + zlib.crc32(os.fsencode(path.name)) % 3000


def _tiff(width: int, height: int) -> bytes:
    """A TIFF whose header claims a size and that has no pixels."""
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 2),
        (273, 8),
        (277, 3),
        (278, max(height, 1)),
        (279, 0),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def _looping_tiff() -> bytes:
    """A TIFF whose directory names itself as the next one."""
    content = bytearray(_tiff(96, 96))
    content[-4:] = struct.pack("<I", 8)
    return bytes(content)


def _png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = (struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data)) for data in (header, end))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
