"""The table of a benchmark: what was measured, which bar it has to meet, and whether all are met."""

from rich.table import Table


class Bars:
    """The rows of the table, and whether all bars are met."""

    def __init__(self, title: str) -> None:
        self.table = Table("what", "value", "bar", "met", title=title)
        self.met = True

    def add(self, what: str, value: str, bar: str = "", met: bool | None = None) -> None:
        """Add a row; without `met` it is for information."""
        self.table.add_row(what, value, bar, "" if met is None else "yes" if met else "NO")
        self.met = self.met and met is not False
