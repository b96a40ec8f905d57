"""Names of files and scenes.

File names as people and JSON can take them: Linux allows any bytes in a name, also newlines and broken UTF-8. And the
names of windows that were cut out of a scene for annotators, and came back as scenes of their own.
"""

import re
from collections.abc import Collection
from pathlib import Path

from satseg.config.project import content_id

_LONGEST_SCENE_ID = 60
_WINDOW = re.compile(r"(?P<stem>.+)-r\d{5,}-c\d{5,}")


def window_scene(scene: str, row: int, col: int) -> str:
    """Return the id of a window of a scene that becomes a scene of its own: scene, row, column."""
    return f"{_stem(scene)}-r{row:05d}-c{col:05d}"


def windows_among(scenes: Collection[str]) -> set[str]:
    """Return the ids of windows whose scene is among the ids too."""
    stems = {_stem(scene) for scene in scenes}
    found = ((scene, _WINDOW.fullmatch(scene)) for scene in scenes)
    return {scene for scene, match in found if match and match["stem"] in stems}


def _stem(scene: str) -> str:
    if len(scene) <= _LONGEST_SCENE_ID:
        return scene
    return f"{scene[:_LONGEST_SCENE_ID]}-{content_id(scene)[:6]}"


def is_text(path: Path) -> bool:
    """Return whether a path is valid UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def one_line(text: str | Path) -> str:
    r"""Return a path or a message as one printable line; what cannot be printed is escaped, a newline as \n."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # Python's stand-in for a byte that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
