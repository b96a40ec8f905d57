"""File names as people and JSON can take them: Linux allows any bytes in a name, also newlines and broken UTF-8."""

from pathlib import Path


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
