import re
from pathlib import Path

import numpy as np
import pytest

from satseg.config.operation import ConfirmConfig
from satseg.drift import compare, profile, report
from satseg.drift.nights import read_report
from satseg.errors import NotFoundError, TemporaryError
from satseg.stages import DriftProfileSpec, DriftReportSpec, DriftTestSpec

NIGHT = "2026-03-31"


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    logged: list[dict[str, bytes]] = []
    monkeypatch.setattr(report, "_log", lambda workspace, project, result, page, pictures: logged.append(pictures))
    return logged


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing thirteen distributions takes a second; these tests look at something else."""
    monkeypatch.setattr(report.figures, "distributions", lambda *arguments: b"")


def night_of(world, scenes: list[str]) -> None:
    profile.run(DriftProfileSpec(project=world.project, night=NIGHT, scenes=scenes), world.workspace)
    compare.run(DriftTestSpec(project=world.project, night=NIGHT, may_be_empty=True), world.workspace)


def drawn(world) -> str:
    result = report.run(DriftReportSpec(project=world.project, night=NIGHT), world.workspace)
    assert result.report is not None
    assert read_report(world.workspace, "town", NIGHT) == result
    return Path(result.report).read_text()


def test_drifted_night_is_told_in_words_and_pictures_of_its_own(world, unlogged) -> None:
    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), False, lambda pixels: 0.5 * pixels + 110))
    page = drawn(world)
    assert "The new scenes have drifted" in page
    assert "less contrast in red" in page and "IQR" in page
    assert "Kind: radiometric" in page and "Severity: severe" in page
    assert "all features together" in page and "30" in page
    assert "1 of the latest 1 counted nights drifted; 2 of 3 nights are needed" in page
    assert "new_10" in page and "old_1" in page
    assert page.count("data:image/png;base64,") == 4 + 2 * 4  # nights, distributions, places, map; patches
    assert not re.search(r"https?:|src=\"(?!data:)|@import|<script|<link", page)  # nothing from outside
    assert set(unlogged[0]) == {"trends", "distributions", "places", "map"}


def test_quiet_night_says_no_drift(world, unlogged, undrawn) -> None:
    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), labelled=False))
    page = drawn(world)
    assert "No drift." in page and "have drifted" not in page
    assert "blocks dealt anew" in page and "up to 33%" in page


def test_names_are_escaped(world) -> None:
    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), labelled=False))
    result = read_report(world.workspace, "town", NIGHT)
    spoiled = result.model_copy(update={"message": "<script>alert(1)</script>", "features": [], "scenes": ["<b>x</b>"]})
    page = report.render(world.project, spoiled, report.Evidence(), "<i>next</i>")
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "<b>x</b>" not in page and "<i>next</i>" not in page


def test_undecided_nights_get_a_page_but_no_run(world, unlogged) -> None:
    compare.run(DriftTestSpec(project=world.project, night=NIGHT, may_be_empty=True), world.workspace)
    assert "No new scenes." in drawn(world)
    world.champion = None
    night_of(world, [world.add("north", world.town(0))])
    page = drawn(world)
    assert "Not enough reference." in page and "This is not the same" in page and "north" in page
    assert unlogged == []


def test_scenes_that_are_gone_do_not_stop_the_report(world, unlogged, undrawn) -> None:
    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), labelled=False))
    for record in world.versions["v2"]:
        record.path.unlink()
    assert "pixels are not there any more" in drawn(world)


def test_testing_again_removes_the_older_page(world) -> None:
    page = world.workspace.drift_night("town", NIGHT) / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("an older result")
    compare.run(DriftTestSpec(project=world.project, night=NIGHT, may_be_empty=True), world.workspace)
    assert not page.exists()
    assert read_report(world.workspace, "town", NIGHT).report is None


def test_page_is_written_while_the_model_registry_is_down(world, undrawn, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*arguments: object) -> None:
        raise TemporaryError("MLflow at http://nowhere does not answer")

    world.project = world.project.model_copy(
        update={
            "drift": world.project.drift.model_copy(
                update={"confirm": ConfirmConfig(nights=1, of=1), "quiet_nights": 1}
            )
        }
    )
    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), False, lambda pixels: 0.5 * pixels + 110))
    monkeypatch.setattr("satseg.drift.status.champion_of", down)
    monkeypatch.setattr(report, "_log", down)
    with pytest.raises(TemporaryError, match="nowhere"):
        drawn(world)
    assert "could not be asked" in (world.workspace.drift_night("town", NIGHT) / "report.html").read_text()


def test_a_night_that_was_not_tested_has_no_report(world) -> None:
    with pytest.raises(NotFoundError, match="has not been tested"):
        drawn(world)


def test_sixteen_bit_scenes_are_drawn(world, unlogged, undrawn) -> None:
    for seed in range(4):
        world.add(f"s{seed}", world.town(seed).astype(np.uint16) * 12, labelled=seed < 2)
    night_of(world, ["s2", "s3"])
    assert "data:image/png;base64," in drawn(world)


@pytest.mark.slow
def test_one_mlflow_run_per_night_with_page_figures_and_metrics(world) -> None:
    from satseg.tracking.runs import find_runs

    world.add_towns(range(2), labelled=True)
    night_of(world, world.add_towns(range(10, 12), labelled=False))
    drawn(world)
    drawn(world)
    (run,) = find_runs(world.workspace, "town", {"satseg.kind": "drift"})
    assert (run.name, run.status) == (f"drift {NIGHT}", "FINISHED")
    assert run.tags["satseg.night"] == NIGHT and run.tags["satseg.verdict"] == "no drift"
    assert run.metrics["drifted"] == 0 and 0 <= run.metrics["distance_mean_red"] <= 1
    artifacts = Path(run.artifact_uri.removeprefix("file://"))
    assert {path.name for path in artifacts.rglob("*.*")} >= {"report.html", "report.json", "distributions.png"}
