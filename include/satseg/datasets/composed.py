"""Scenes given as several files: a STAC Item with an asset per band, or a small YAML file.

    bands:                      # project's band: file, or a mapping
      red: B04.tif
      nir: {file: B08.tif, index: 1, scale: 0.0001, offset: -0.1, nodata: 0}
    scale: 0.0001               # for all bands that say nothing of their own
    acquired: 2026-05-04T10:20:00Z

Files lie in the folder of the description or below it. A STAC Item's address that points elsewhere is looked for
under its last part beside the Item, because downloaded Items keep the addresses of the archive.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from satseg.datasets.checksums import sha256_of
from satseg.errors import BadDataError
from satseg.scenes.recipe import Member
from satseg.scenes.source import RASTER_SUFFIXES

COMPOSITION_SUFFIXES = (".json", ".yaml", ".yml")
_LARGEST_BYTES = 4 * 2**20
_KEYS = {"id", "bands", "scale", "offset", "nodata", "acquired"}
_BAND_KEYS = {"file", "index", "scale", "offset", "nodata"}
_OF_A_BAND = {"common_name", "nodata", "scale", "offset"}
_NOT_DATA = {"thumbnail", "overview", "visual", "metadata"}


@dataclass(frozen=True)
class Candidate:
    """A band some file offers, under the names it goes by; `siblings` is how many bands its asset has."""

    names: tuple[str, ...]
    member: Member
    siblings: int = 1


@dataclass(frozen=True)
class Composition:
    """A scene of several files. Files named in the description that are not there stand in `missing`."""

    file: Path
    id: str
    candidates: tuple[Candidate, ...]
    acquired: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[Path, ...]:
        """All files it is made of, without the description itself."""
        return tuple(sorted({candidate.member.path for candidate in self.candidates}))

    def choose(self, bands: tuple[str, ...], called: Mapping[str, str]) -> dict[str, Member]:
        """Return the member for each of the project's bands, by name, upper and lower case alike.

        Where several assets offer a band, the one with the fewest bands is taken, then the first by name.

        Raises:
            BadDataError: nothing offers a band.
        """
        chosen = {}
        for band in bands:
            wanted = called.get(band, band).casefold()
            offers = [offer for offer in self.candidates if wanted in (name.casefold() for name in offer.names)]
            if not offers:
                there = ", ".join(sorted({name for offer in self.candidates for name in offer.names})) or "no bands"
                gone = f"; files that are not there: {', '.join(self.missing)}" if self.missing else ""
                raise BadDataError(
                    f"{self.file.name} has no band '{called.get(band, band)}', only {there}{gone}; add it, or say in "
                    "the project file what it is called (band_names)"
                )
            chosen[band] = min(offers, key=lambda offer: (offer.siblings, str(offer.member.path))).member
        return chosen


def checksum_of(members: Mapping[str, Member]) -> str:
    """Return the SHA-256 of a scene of several files: of its bands' checksums in the project's order."""
    files: dict[Path, str] = {}
    digest = hashlib.sha256()
    for member in members.values():
        files.setdefault(member.path, "")
        files[member.path] = files[member.path] or sha256_of(member.path)
        digest.update(f"{files[member.path]}:{member.index}\n".encode())
    return digest.hexdigest()


def read_composition(path: Path) -> Composition | None:
    """Return the scene a file describes, None when it is something else (labels, settings, …).

    Raises:
        BadDataError: it is such a description, and wrong.
    """
    tree = _tree(path)
    if not isinstance(tree, dict):
        return None
    if "stac_version" in tree and isinstance(tree.get("assets"), dict) and tree.get("type") == "Feature":
        return _of_item(path, tree)
    if path.suffix.lower() != ".json" and isinstance(tree.get("bands"), dict):
        return _of_scene_file(path, tree)
    return None


def find_compositions(paths: Iterable[Path]) -> tuple[dict[Path, Composition], dict[Path, str]]:
    """Return the descriptions among files, and for those that are wrong the reason."""
    found, wrong = {}, {}
    for path in paths:
        if path.suffix.lower() in COMPOSITION_SUFFIXES:
            try:
                composition = read_composition(path)
            except BadDataError as error:
                wrong[path] = str(error)
                continue
            if composition is not None:
                found[path] = composition
    return found, wrong


def _tree(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text) if '"stac_version"' in text else None
        return yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def _of_scene_file(path: Path, tree: dict[str, Any]) -> Composition:
    if unknown := sorted(map(str, set(tree) - _KEYS)):
        raise BadDataError(f"{path.name}: unknown key {unknown[0]}; known are {', '.join(sorted(_KEYS))}")
    candidates, missing = [], []
    for name, given in tree["bands"].items():
        band = {"file": given} if isinstance(given, str) else given
        if not isinstance(band, dict) or not isinstance(band.get("file"), str) or set(band) - _BAND_KEYS:
            raise BadDataError(
                f"{path.name}: band {name} must be a file name or a mapping with 'file' and any of "
                f"{', '.join(sorted(_BAND_KEYS - {'file'}))}"
            )
        file = _inside(path, band["file"])
        if file is None and ".." not in Path(band["file"]).parts:
            file = _inside(path, Path(band["file"]).name)  # quarantine keeps all files of a scene in one folder
        if file is None:
            missing.append(band["file"])
            continue
        values = {key: _number(path, key, band.get(key, tree.get(key))) for key in ("scale", "offset", "nodata")}
        candidates.append(Candidate((str(name),), Member(file, _index(path, band.get("index", 1)), **values)))
    if missing:
        raise BadDataError(f"{path.name} names {missing[0]}, which is no file in its folder or below")
    acquired = tree.get("acquired")
    stem = path.parent.name if path.stem.casefold() in {"scene", "bands"} else path.stem
    return Composition(
        path,
        str(tree.get("id") or stem),
        tuple(candidates),
        acquired.isoformat() if isinstance(acquired, (date, datetime)) else acquired and str(acquired),
    )


def _of_item(path: Path, item: dict[str, Any]) -> Composition:
    candidates, missing = [], []
    for key, asset in sorted(item["assets"].items()):
        if not isinstance(asset, dict) or not isinstance(href := asset.get("href"), str):
            continue
        address = PurePosixPath(unquote(urlsplit(href).path))
        if address.suffix.lower() not in RASTER_SUFFIXES or _NOT_DATA & set(asset.get("roles") or ()):
            continue
        file = _inside(path, href) or _inside(path, address.name)
        if file is None:
            missing.append(address.name)
            continue
        bands = _asset_bands(asset)
        for index, band in enumerate(bands, start=1):
            names = tuple(str(name) for name in (band.get("common_name"), band.get("name")) if name)
            values = {key: _number(path, key, band.get(key)) for key in ("scale", "offset", "nodata")}
            own = (*names, key) if len(bands) == 1 else names
            candidates.append(Candidate(own, Member(file, index, **values), len(bands)))
    properties = item.get("properties") or {}
    acquired = properties.get("datetime") or properties.get("start_datetime")
    return Composition(
        path, str(item.get("id") or path.stem), tuple(candidates), acquired and str(acquired), tuple(missing)
    )


def _asset_bands(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the asset's bands: STAC 1.1 `bands`, or `eo:bands` beside `raster:bands`; one where nothing is said.

    What the asset itself says of its bands holds for those that say nothing else.
    """
    lists = [_mappings(asset.get(key)) for key in ("eo:bands", "raster:bands", "bands")]
    shared = {key: value for key, value in _plain_keys(asset).items() if key in _OF_A_BAND}
    merged = [dict(shared) for _ in range(max(1, *map(len, lists)))]
    for found in lists:
        for band, more in zip(merged, found, strict=False):
            band.update(_plain_keys(more))
    return merged


def _plain_keys(fields: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("^(eo|raster):", "", key): value for key, value in fields.items()}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [entry if isinstance(entry, dict) else {} for entry in value] if isinstance(value, list) else []


def _inside(description: Path, name: str) -> Path | None:
    """Return a raster file in the description's folder or below, None for anything else."""
    folder = description.parent
    path = Path(os.path.normpath(folder / name))  # a link in the folder may lead anywhere, `..` may not
    try:
        fits = path.is_relative_to(folder) and path.suffix.lower() in RASTER_SUFFIXES and path.is_file()
    except (OSError, ValueError):  # too long, a null byte, a loop of links
        return None
    return path if fits else None


def _number(path: Path, key: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadDataError(f"{path.name}: {key} is {value!r}, which is no number") from error


def _index(path: Path, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadDataError(f"{path.name}: index is {value!r}; bands count from 1")
    return value
