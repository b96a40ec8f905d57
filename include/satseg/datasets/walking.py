"""Every file of a folder, with a word about whatever cannot be one: nothing dropped is passed over in silence."""

import os
from pathlib import Path

from satseg.datasets.names import one_line


def files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files in a folder and below, sorted, and a warning for each thing that is none.

    Links to files count, also those that lead nowhere: reading them gives the reason. Links to folders are not
    followed, because a loop would have no end and because incoming/ is emptied. Hidden files and folders are left out.
    """
    files: list[Path] = []
    warnings: list[str] = []

    def unreadable(error: OSError) -> None:
        warnings.append(f"folder {one_line(error.filename)} cannot be read ({error.strerror}); correct its permissions")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            path = Path(place, name)
            if path.is_symlink():
                warnings.append(f"{one_line(path.relative_to(folder))} is a link to a folder and was not followed")
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.is_symlink() or path.is_file():
                files.append(path)
            else:
                warnings.append(f"{one_line(path.relative_to(folder))} is no regular file (a pipe, socket or device)")
    return sorted(files), sorted(warnings)
