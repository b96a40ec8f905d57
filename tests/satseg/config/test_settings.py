from pathlib import Path

import pytest

from satseg.config.settings import settings
from satseg.errors import ConfigurationError


@pytest.fixture(autouse=True)
def fresh_settings():
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_environment_sets_the_workspace(monkeypatch, tmp_path):
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path))
    assert settings().workspace == tmp_path


def test_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("SATSEG_WORKSPACE", "")
    assert settings().workspace == Path("workspace")


def test_wrong_variable_is_named_with_its_value(monkeypatch):
    monkeypatch.setenv("SATSEG_GPU_COUNT", "many")
    with pytest.raises(ConfigurationError, match=r"SATSEG_GPU_COUNT.*'many'.*\.env\.example"):
        settings()
