"""The corpus of bad inputs in one drop zone with a good scene, through the real `satseg ingest`."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import PROJECT, BadInput, corpus
from dataset_drops import HOUSE, write_labels, write_scene

pytestmark = pytest.mark.slow

CORPUS = corpus()
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def give_up_reading_everything() -> None:
    """Make a process of root's obey file permissions, as everybody else's does."""
    libc = ctypes.CDLL(None)
    for power in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, power, 0, 0, 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-inputs")


@pytest.fixture(scope="module")
def outcome(root: Path) -> tuple[dict[str, Any], str]:
    """The result of the ingest, and what it said on stderr."""
    drop = root / "workspace" / "incoming" / "roofs"
    write_scene(drop / "good.tif", seed=1)
    write_labels(drop / "good.json", HOUSE)
    for bad in CORPUS:
        bad.make(drop / bad.name)
    (root / "roofs.yaml").write_text(json.dumps(PROJECT))
    done = subprocess.run(
        [sys.executable, "-m", "satseg", "ingest", "-p", "roofs.yaml", "--json", "--debug"],
        cwd=root,
        env=os.environ | {"SATSEG_WORKSPACE": str(root / "workspace")},
        preexec_fn=give_up_reading_everything,
        check=False,
        capture_output=True,
        timeout=500,
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said
    return json.loads(done.stdout), said


def test_the_corpus_is_large_and_its_names_are_distinct() -> None:
    assert len(CORPUS) >= 60
    assert len({bad.name for bad in CORPUS}) == len(CORPUS)


def test_no_traceback_is_shown(outcome) -> None:
    assert "Traceback" not in outcome[1]


def test_the_good_scene_goes_on(outcome) -> None:
    result, _ = outcome
    accepted = {bad.scene for bad in CORPUS if bad.fate == "accepted"}
    assert result["dataset_version"] == "v1"
    assert set(result["scenes"]) == {"good", *accepted}
    assert set(result["quarantined"]) == {bad.scene for bad in CORPUS if bad.fate == "quarantined"}


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name.encode("ascii", "backslashreplace").decode()[:30])
def test_a_bad_input_is_named_with_its_reason_and_kept(outcome, root: Path, bad: BadInput) -> None:
    result, _ = outcome
    entry = root / "workspace" / "quarantine" / "roofs" / bad.scene
    if bad.fate == "quarantined":
        assert bad.words in " | ".join(result["quarantined"][bad.scene])
        assert json.loads((entry / "reasons.json").read_text())["reasons"] == result["quarantined"][bad.scene]
        kept = entry / ("inside.tif" if bad.name == "folder.tif" else bad.name)
        assert os.path.lexists(kept)
        return
    about = [text for text in result["warnings"] if bad.fate == "warned" or text.startswith(f"{bad.scene}:")]
    assert bad.words in " | ".join(about)
    assert not (bad.scene and entry.exists())


def test_nothing_that_could_be_a_file_is_left_in_the_drop_zone(outcome, root: Path) -> None:
    left = {path.name for path in (root / "workspace" / "incoming" / "roofs").iterdir()}
    assert left == {bad.name for bad in CORPUS if bad.fate == "warned"}


def test_names_are_shown_on_one_line(outcome) -> None:
    result, said = outcome
    assert "quarantined new\\nline.tif:" in said
    assert "broken-\\xff.tif" in result["quarantined"]["broken"][0]
