import json
import sys
from pathlib import Path

import pytest

from satseg.cli.app import main
from satseg.config.settings import settings


@pytest.fixture
def shell(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    projects = tmp_path / "projects"
    projects.mkdir()
    (projects / "town.yaml").write_text(
        "name: town\nclasses: [building]\ndrift: {patch_px: 32, confirm: {nights: 1, of: 1}}\n"
    )
    monkeypatch.setenv("SATSEG_WORKSPACE", str(world.workspace.root))
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(projects))
    settings.cache_clear()

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["drift", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield run
    settings.cache_clear()


def test_a_night_from_profile_to_status(world, shell) -> None:
    world.add_towns(range(2), labelled=True)
    new = world.add_towns(range(10, 12), False, lambda pixels: 0.5 * pixels + 110)
    for scene in new:
        code, out, _ = shell("profile", "--night", "2026-03-31", "--scene", scene, "--json")
        assert code == 0 and json.loads(out)["patches"] == 64
    code, out, _ = shell("test", "--night", "2026-03-31", "--json")
    assert code == 0 and json.loads(out)["drifted"] is True
    code, out, _ = shell("status", "--night", "2026-03-31", "--json")
    assert code == 0 and json.loads(out)["trigger"] is True
    assert shell("episode", "--action", "open", "--night", "2026-03-31", "--reason", "drift")[0] == 0
    code, out, _ = shell("status", "--night", "2026-03-31", "--json")
    assert json.loads(out)["trigger"] is True  # its own retraining may have been asked for and not started
    code, out, _ = shell("show", "--json")
    shown = json.loads(out)
    assert shown["nights"][0]["verdict"] == "drift" and shown["episodes"][0]["night"] == "2026-03-31"
    assert "2026-03-31" in shell("show")[1]


def test_an_episode_in_the_way_is_a_decision_against(shell) -> None:
    assert shell("episode", "--action", "open", "--night", "2026-03-02")[0] == 0
    code, _, _ = shell("episode", "--action", "open", "--night", "2026-03-03")
    assert code == 4
    assert shell("episode", "--action", "close")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("episode", "--action", "reopen"), "open or close"),
        (("test", "--night", "today"), "YYYY-MM-DD"),
        (("status", "--night", "2026-03-31"), "has not been tested"),
        (("test", "--night", "2026-03-31"), "No scene has a profile"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_how_to_mend_it(shell, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_empty_night_ends_well(shell) -> None:
    code, out, _ = shell("test", "--night", "2026-03-31", "--may-be-empty")
    assert code == 0 and "no new scenes" in out
    assert "No night" not in shell("show")[1]


def test_show_of_an_untouched_project(shell) -> None:
    assert "No night of town has been tested" in shell("show")[1]
    assert "tensorflow" not in sys.modules
