"""Whether a Shapefile is whole: GDAL reads one with parts missing or cut off as if there were fewer labels."""

import struct
from pathlib import Path

from satseg.errors import BadDataError

SHAPEFILE_REQUIRED = (".shx", ".dbf")
SHAPEFILE_OTHERS = (".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qpj", ".qmd", ".fix", ".shp.xml")
_HEADER_BYTES = 32


def check_shapefile(path: Path) -> None:
    """Check that the files of a Shapefile are there and as long as their headers say.

    The lengths stand in the ESRI Shapefile Technical Description (1998), p. 4, and in dBASE's file header.

    Raises:
        BadDataError: a file is missing or cut off.
    """
    there = {other.name.casefold(): other for other in path.parent.iterdir()}
    files = {suffix: there.get((path.stem + suffix).casefold()) for suffix in SHAPEFILE_REQUIRED}
    missing = [suffix for suffix, file in files.items() if file is None]
    if missing:
        names = " and ".join(path.stem + suffix for suffix in missing)
        raise BadDataError(
            f"{path.name}: {names} missing; a Shapefile is a set of files (.shp, .shx, .dbf, .prj, .cpg): copy all of "
            "them"
        )
    for file in (path, *files.values()):
        assert file is not None
        stated, actual = _stated_bytes(file), file.stat().st_size
        if actual < stated:
            raise BadDataError(
                f"{path.name}: {file.name} has {actual} bytes and should have {stated}: it is truncated; copy the set "
                "of files again from its origin"
            )


def _stated_bytes(file: Path) -> int:
    with file.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    if len(start) < _HEADER_BYTES:
        return _HEADER_BYTES
    if file.suffix.lower() == ".dbf":
        records, header, record = struct.unpack("<IHH", start[4:12])
        return int(header + records * record)
    return int(2 * struct.unpack(">i", start[24:28])[0])
