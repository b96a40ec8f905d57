"""Changed copies of real scenes: the same place and labels under a stated haze, gain, blur or noise."""

import json
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from satseg.datasets.demo_changes import Change, to_dtype
from satseg.datasets.demo_folder import OutFolder, out_folder
from satseg.datasets.discovery import SceneSource, discover
from satseg.datasets.label_files import renamed
from satseg.errors import BadDataError, ConfigurationError
from satseg.progress import progress_bar, say
from satseg.scenes.source import SourceHeader, open_source, read_header

_BLOCK_PX = 512  # a multiple of the written tiles' side, so that each tile is written once
_BLOCKS_WIDE = 4


def write_copies(  # noqa: PLR0917
    out: Path,
    source: Path,
    change: Change,
    suffix: str = "changed",
    seed: int = 0,
    labelled: bool = True,
    force: bool = False,
) -> list[str]:
    """Write changed copies `<stem>_<suffix>.tif` of a folder's scenes, with their label files; returns their names.

    Georeference, band count, pixel type, nodata and alpha stay. A scene's own label file is copied under the new name;
    a folder-level one is copied once when a scene without its own needs it. Files that are no usable scene are named
    on stderr and left out. Memory is bounded by a block of 512 × 2048 pixels.

    Raises:
        ConfigurationError: no such folder, no scene in it, `out` inside it, or `out` holds something else.
        BadDataError: not one scene could be read.
    """
    if not source.is_dir():
        raise ConfigurationError(f"--from {source}: no such folder. Give the folder with the scenes to change.")
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigurationError(
            f"{out} lies in the folder of --from, where the copies would be taken for scenes. Give another folder."
        )
    if not suffix or set(suffix) & set("/\\") or suffix.startswith("."):
        raise ConfigurationError(f"--suffix {suffix!r} does not suit file names. Give letters and digits.")
    scenes = [scene for scene in discover(source).scenes if scene.raster is not None]
    if not scenes:
        raise ConfigurationError(f"--from {source}: no scene in this folder (GeoTIFF, PNG or JPEG).")
    plans = _plans(scenes, source, suffix, labelled)
    done: list[str] = []
    expected = {str(name) for picture, labels in plans for name in (picture, *labels.values())}
    with out_folder(out, expected, force) as folder, progress_bar("Changing scenes", len(plans)) as advance:
        for i in folder.first_existing([str(plan[0]) for plan in plans]):
            done += _copy_or_complain(folder, scenes[i], plans[i], change, seed)
            advance()
        if not done:
            raise BadDataError(f"None of the {len(scenes)} scenes in {source} could be read; the reasons are above.")
    return sorted(done)


Plan = tuple[Path, dict[Path, Path]]  # relative name of a scene's copy; of its label files' copies, by their origin


def _plans(scenes: list[SceneSource], source: Path, suffix: str, labelled: bool) -> list[Plan]:
    plans: list[Plan] = []
    for scene in scenes:
        assert scene.raster is not None
        picture = (scene.raster.parent / f"{scene.raster.stem}_{suffix}.tif").relative_to(source)
        labels: dict[Path, Path] = {}
        if labelled and scene.labels is not None:
            names = renamed(scene.labels, picture.stem)
            labels = {path: picture.with_name(name) for path, name in names.items()}
        elif labelled:
            labels = {path: path.relative_to(source) for path in scene.shared_files}
        plans.append((picture, labels))
    return plans


def _copy_or_complain(folder: OutFolder, scene: SceneSource, plan: Plan, change: Change, seed: int) -> list[str]:
    picture, labels = plan
    raster = scene.raster
    assert raster is not None
    try:
        if scene.problem is not None:
            raise BadDataError(scene.problem)
        header = read_header(raster)
        if header.palette:
            raise BadDataError("a picture with a colour table holds no brightness to change; convert it to RGB")
        for name in labels.values() if scene.labels is not None else ():
            folder.withdraw(str(name))
        folder.write(str(picture), lambda path: _write_copy(raster, header, path, change, seed))
    except BadDataError as error:
        say(f"warning: {raster.name} left out: {error}")
        return []
    suffix = picture.stem[len(raster.stem) :]
    for label_file, name in labels.items():
        content = _relabelled(label_file, picture.name, suffix)
        folder.write(str(name), partial(_write_bytes, content=content))
    return [picture.stem]


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _relabelled(labels: Path, image: str, suffix: str) -> bytes:
    """Return a label file's content; what LabelMe and COCO say about their pictures is turned to the copies."""
    content = labels.read_bytes()
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content  # whoever ingests it says what is wrong with it
    if not isinstance(tree, dict):
        return content
    if isinstance(images := tree.get("images"), list) and "annotations" in tree:
        for entry in images:
            if isinstance(entry, dict) and "file_name" in entry:
                entry["file_name"] = f"{PurePosixPath(str(entry['file_name'])).stem}{suffix}.tif"
    elif "shapes" in tree:
        tree |= {"imagePath": image, "imageData": None}  # imageData may embed the unchanged picture
    else:
        return content
    return json.dumps(tree, ensure_ascii=False).encode()


def _write_copy(raster: Path, header: SourceHeader, target: Path, change: Change, seed: int) -> None:
    with open_source(raster) as dataset, rasterio.open(target, "w", **_profile(dataset, header)) as copy:
        copy.colorinterp = dataset.colorinterp
        copy.descriptions = dataset.descriptions
        copy.scales, copy.offsets = dataset.scales, dataset.offsets
        copy.update_tags(**{key: value for key, value in dataset.tags().items() if key != "AREA_OR_POINT"})
        full_scale = _full_scale(dataset, header) if change.haze > 0 else 1.0
        for number, window in enumerate(_windows(dataset.height, dataset.width)):
            random = np.random.default_rng([seed, zlib.crc32(raster.stem.encode()), number])
            copy.write(_changed(dataset, header, window, (change, full_scale), random), window=window)
            if header.has_mask and len(header.bands) == dataset.count:
                copy.write_mask(dataset.dataset_mask(window=window), window=window)


def _profile(dataset: Any, header: SourceHeader) -> dict[str, Any]:
    profile = {
        "driver": "GTiff",
        "width": dataset.width,
        "height": dataset.height,
        "count": dataset.count,
        "dtype": dataset.dtypes[0],
        "nodata": dataset.nodata,
        "crs": header.grid.crs,
        "transform": header.file_transform,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 3 if np.issubdtype(np.dtype(dataset.dtypes[0]), np.floating) else 2,
        "BIGTIFF": "IF_SAFER",
    }
    if dataset.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue):
        profile["photometric"] = "RGB"
    return {key: value for key, value in profile.items() if value is not None}


def _windows(height: int, width: int) -> Iterator[Window]:
    across = _BLOCK_PX * _BLOCKS_WIDE
    for row in range(0, height, _BLOCK_PX):
        for col in range(0, width, across):
            yield Window(col, row, min(across, width - col), min(_BLOCK_PX, height - row))


def _full_scale(dataset: Any, header: SourceHeader) -> float:
    """Return 255 for uint8, otherwise the 99.9th percentile of an overview: 16-bit sensors rarely use all bits."""
    if dataset.dtypes[0] == "uint8":
        return 255.0
    shrink = max(1.0, max(dataset.height, dataset.width) / 1024)
    shape = (len(header.bands), max(1, int(dataset.height / shrink)), max(1, int(dataset.width / shrink)))
    overview = dataset.read(list(header.bands), out_shape=shape, masked=True).astype(np.float32)
    values = overview.compressed()
    values = values[np.isfinite(values)]
    return float(np.percentile(values, 99.9)) if values.size else 1.0


def _changed(
    dataset: Any, header: SourceHeader, window: Window, how: tuple[Change, float], random: np.random.Generator
) -> NDArray[Any]:
    """Return the changed pixels (C, H, W) of a window in the scene's type; pixels without data stay."""
    change, full_scale = how
    halo = change.halo_px
    top, left = max(0, window.row_off - halo), max(0, window.col_off - halo)
    bottom = min(dataset.height, window.row_off + window.height + halo)
    right = min(dataset.width, window.col_off + window.width + halo)
    wide = Window(left, top, right - left, bottom - top)
    original = dataset.read(window=wide)
    bands = [band - 1 for band in header.bands]  # without alpha
    valid = dataset.dataset_mask(window=wide) > 0
    pixels = original[bands].transpose(1, 2, 0).astype(np.float32)
    valid &= np.isfinite(pixels).all(axis=2)
    if not valid.all():  # what stands in for missing pixels must not darken their neighbours
        pixels[~valid] = pixels[valid].mean(axis=0) if valid.any() else 0
    pixels = change.apply(pixels, full_scale, random)
    result = to_dtype(pixels, dataset.dtypes[0]).transpose(2, 0, 1)
    if header.nodata is not None:
        result = _off_nodata(result, header.nodata)
    merged = original.copy()
    merged[bands] = np.where(valid, result, original[bands])
    rows, cols = slice(window.row_off - top, None), slice(window.col_off - left, None)
    return np.ascontiguousarray(merged[:, rows, cols][:, : window.height, : window.width])


def _off_nodata(values: NDArray[Any], nodata: float) -> NDArray[Any]:
    """Return values none of which is the nodata value: a changed pixel must not vanish."""
    if np.issubdtype(values.dtype, np.floating):
        return values
    beside = nodata + 1 if nodata < np.iinfo(values.dtype).max else nodata - 1
    return np.where(values == nodata, np.array(beside, values.dtype), values)
