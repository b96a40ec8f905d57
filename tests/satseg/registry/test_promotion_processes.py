"""Real processes: a promotion killed at any moment, two at once, and the packaged model in a clean process."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from satseg.registry import packaged, promote, register, rollback
from satseg.registry.audit import champions, entries
from satseg.registry.overview import list_models
from satseg.stages import PromoteSpec, RegisterSpec, RollbackSpec
from satseg.tracking.models import alias_version, model_folder, resolve_model
from satseg.tracking.probe import probe_packaged

pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("promotion_child.py")
SWAP_S = 1.0  # a swap takes less
REDS = (140, 138, 136)


@pytest.fixture(scope="module")
def ready(world, probed_here):
    """Three models, as good as each other, registered and measured; the first is champion."""
    for red in REDS:
        register.run(RegisterSpec(project=world.project, run=world.train(red)), world.workspace)
    promote.run(PromoteSpec(project=world.project, version="1"), world.workspace)
    for version in ("2", "3"):
        promote.run(PromoteSpec(project=world.project, version=version, check=True), world.workspace)
    (world.workspace.root / "project.json").write_text(world.project.model_dump_json())
    return world


def start(world, version, *more, **pipes):
    words = [str(world.workspace.root), str(world.workspace.root / "project.json"), version, *map(str, more)]
    return subprocess.Popen([sys.executable, str(CHILD), *words], stdout=subprocess.PIPE, text=True, **pipes)


@pytest.fixture(scope="module")
def promoter(ready):
    """A process that promotes in a fork of its own, once for each version it is told."""
    process = start(ready, "-", stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait()


def said(process, word):
    line = process.stdout.readline().strip()
    assert line == word, line


def champion(world):
    held = [row.version for row in list_models(world.workspace, "houses") if "champion" in row.aliases]
    assert len(held) == 1
    return held[0]


def _kill_once(world, promoter, delay_s):
    before = champion(world)
    print("2", file=promoter.stdin, flush=True)
    pid = int(promoter.stdout.readline())
    said(promoter, "judged")
    said(promoter, "deciding")
    time.sleep(delay_s)
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.kill(pid, signal.SIGKILL)
    _drain(promoter)
    assert alias_version(world.workspace, "houses", "champion") in {before, "2"}  # before anything is mended
    now = champion(world)
    log = entries(world.workspace.audit_log("houses"))
    assert champions(log)[-1] == now
    if now == "2":
        assert (log[-1].action, log[-1].from_version, log[-1].to_version) == ("promoted", before, "2")
        assert alias_version(world.workspace, "houses", "previous") == before
        rollback.run(RollbackSpec(project=world.project), world.workspace)
    return now


def _drain(promoter):
    """Wait until the killed fork is gone and forget what it said; the next one's answer must come first."""
    print("none", file=promoter.stdin, flush=True)
    while not promoter.stdout.readline().startswith("end of none"):
        pass


def test_promotion_that_is_killed_leaves_one_champion_and_the_log_says_which(ready, promoter):
    for delay_s in (0.0, 0.15):
        _kill_once(ready, promoter, delay_s)
    assert champion(ready) == "1"


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_promotion_killed_twenty_times_leaves_one_champion_each_time(ready, promoter):
    dice, outcomes, longest_s = random.Random(7), set(), SWAP_S
    for _ in range(20):
        delay_s = dice.uniform(0, longest_s)
        outcomes.add(outcome := _kill_once(ready, promoter, delay_s))
        # kills gather around the moment at which the alias moves, however fast the machine is
        longest_s = delay_s if outcome == "2" else min(2 * longest_s, SWAP_S)
    assert outcomes == {"1", "2"}  # some kills came before the alias moved, some after


def test_of_two_promotions_at_once_one_wins_and_the_other_says_why_not(ready):
    go = ready.workspace.root / "go"
    both = {version: start(ready, version, go) for version in ("2", "3")}
    for process in both.values():
        said(process, "judged")
    go.touch()
    results = {version: process.communicate(timeout=120)[0] for version, process in both.items()}
    decided = {version: json.loads(text.splitlines()[-1]) for version, text in results.items()}
    (winner,) = [version for version, result in decided.items() if result["decision"] == "promoted"]
    loser = "3" if winner == "2" else "2"
    assert decided[loser]["decision"] == "refused"
    assert f"v{winner} became champion while v{loser} was judged against v1" in decided[loser]["message"]
    assert champion(ready) == winner
    last = {entry.to_version: entry for entry in entries(ready.workspace.audit_log("houses"))}
    assert (last[winner].action, last[loser].action) == ("promoted", "refused")
    assert "promote" in last[loser].reason


def test_packaged_model_works_in_a_clean_process_and_agrees_with_the_evaluated_one(ready):
    ref = resolve_model(ready.workspace, "houses", "1")
    folder = model_folder(ready.workspace, ref)
    images = packaged.windows_for(ready.workspace, "houses", packaged.read_description(ready.workspace, ref))
    assert len(images) == packaged.NOISE_WINDOWS + packaged.REAL_WINDOWS
    probe = probe_packaged(folder.parent, images)
    evaluated = packaged.load(ready.workspace, ref)
    assert packaged.compared(probe.probabilities, evaluated.predict(images), evaluated.description) <= 1e-6
    assert probe.memory_mib > 50
    assert 0 < probe.latency_s < probe.load_s
