import time

from satseg.scenes import pace
from satseg.scenes.pace import growing, paced


def test_long_work_is_told_in_percent_and_short_work_not_at_all(monkeypatch, capsys):
    advance = paced("a.tif: measuring", 200)
    advance(20)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(pace, "LOG_LINE_EVERY_S", 0)
    advance(30)
    assert capsys.readouterr().err == "a.tif: measuring: 25%\n"


def test_what_a_library_writes_is_told_while_it_works(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pace, "LOG_LINE_EVERY_S", 0.02)
    (tmp_path / "a.tif").write_bytes(bytes(3_000_000))
    with growing("a.tif: writing", tmp_path):
        while not (said := capsys.readouterr().err):
            time.sleep(0.01)
    assert said.startswith("a.tif: writing: 3 MB written, ")
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
