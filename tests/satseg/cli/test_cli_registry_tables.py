"""Tables keep their cells whole where the output is no terminal."""

from rich.table import Table

from satseg.cli import registry_tables as tables
from satseg.stages import Gate


def test_piped_tables_are_not_cut(capsys):
    evidence = "test IoU 0.512 must be at least 0.300 (promotion.min_iou); " * 4
    gate = Gate(name="not_worse", passed=True, value=0.5, bound=0.3, evidence=evidence.strip(), undecided=True)
    tables.show(tables.gates([gate]))
    out = capsys.readouterr().out
    assert evidence.strip() in out
    assert "not enough evidence not worse" in out


def test_any_table_is_shown(capsys):
    table = Table("a")
    table.add_row("x" * 300)
    tables.show(table)
    assert "x" * 300 in capsys.readouterr().out
