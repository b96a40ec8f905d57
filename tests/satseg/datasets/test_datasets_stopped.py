"""A library may catch the exception that SIGTERM raises; what it throws instead is still "told to stop"."""

import os
import signal
import time

import pytest

from satseg.cli.app import main
from satseg.config.settings import settings
from satseg.datasets import ingest


@pytest.fixture
def command(tmp_path, monkeypatch):
    (tmp_path / "roofs.yaml").write_text("name: roofs\nclasses: [building]\n")
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path / "workspace"))
    settings.cache_clear()
    before = signal.getsignal(signal.SIGTERM)
    yield ["ingest", str(tmp_path), "-p", str(tmp_path / "roofs.yaml")]
    signal.signal(signal.SIGTERM, before)
    settings.cache_clear()


def test_an_error_that_comes_of_sigterm_is_temporary(command, monkeypatch, capsys):
    def run(spec, workspace):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except Exception as error:  # as Great Expectations does
            raise RuntimeError("expectation failed") from error

    monkeypatch.setattr(ingest, "run", run)
    assert main(command) == 75
    assert "Told to stop" in capsys.readouterr().err


def test_a_defect_is_a_defect(command, monkeypatch, capsys):
    def run(spec, workspace):
        raise RuntimeError("expectation failed")

    monkeypatch.setattr(ingest, "run", run)
    assert main(command) == 1
    assert "unexpected RuntimeError: expectation failed" in capsys.readouterr().err
