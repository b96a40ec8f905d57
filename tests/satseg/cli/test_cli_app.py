import json
import subprocess
import sys

import pytest

from satseg.cli import app
from satseg.config.project import parse_project
from satseg.errors import BadDataError
from satseg.stages import DriftStatusResult, DriftStatusSpec

PROJECT = parse_project("name: roads\nclasses: [road]\n", "roads.yaml")
SPEC = DriftStatusSpec(project=PROJECT, night="2026-01-01")
RESULT = DriftStatusResult(message="calm", night="2026-01-01", confirmed=False, trigger=False, reason="calm")


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from satseg.cli.app import main; main(['--help'])\n"
        "heavy = {'tensorflow', 'mlflow', 'dvc', 'great_expectations', 'airflow', 'pandas', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ingest" in done.stdout


def test_result_goes_to_stdout_and_file_and_chatter_to_stderr(workspace, tmp_path, capsys):
    def run(spec, where):
        print("a library's hint")
        return RESULT

    app.run_stage(run, SPEC, workspace, as_json=True, result_file=tmp_path / "r.json")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((tmp_path / "r.json").read_text())
    assert "a library's hint" in captured.err


def test_decision_against_writes_the_result_and_exits_4(workspace, tmp_path):
    with pytest.raises(app.DecidedAgainst):
        app.run_stage(
            lambda s, w: RESULT, SPEC, workspace, result_file=tmp_path / "r.json", decided_against=lambda r: True
        )
    assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (BadDataError("scene x is empty"), 3, "error: scene x is empty"),
        (app.DecidedAgainst(RESULT), 4, ""),
        (OSError(28, "No space left on device", "/x"), 75, "No space left on device: /x"),
        (ValueError("odd"), 1, "--debug"),
        (KeyboardInterrupt(), 130, "run the same command again"),
    ],
)
def test_errors_become_exit_codes_without_traceback(monkeypatch, capsys, raised, code, words):
    def build():
        def program(**_):
            raise raised

        return program

    monkeypatch.setattr(app, "build", build)
    assert app.main([]) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    app.main(["--debug"])
    assert ("Traceback" in capsys.readouterr().err) == (code in (1, 3, 75))


def test_wrong_option_is_a_usage_error(capsys):
    assert app.main(["--nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["hello", "2026-13-01", "31.03.2026", ""])
def test_a_wrong_time_is_named_with_the_form_it_must_have(capsys, wrong):
    assert app.main(["datasets", "scenes", "--since", wrong]) == 2
    said = capsys.readouterr().err
    assert "--since" in said
    assert f"'{wrong}' is no time" in said
    assert "2026-03-31T02:00+03:00" in said


def test_the_version_is_printed(capsys):
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("satseg 0.")


def test_a_pipe_gets_whole_cells(capsys):
    long = "a" * 300
    app.print_json_or(lambda console: console.print(long), None, as_json=False)
    assert capsys.readouterr().out.strip() == long
