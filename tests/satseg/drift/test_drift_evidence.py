"""What a retrained run keeps of the night that wanted it, and of what it changed."""

import pandas as pd
import pytest

from satseg.config.project import ProjectConfig
from satseg.drift import evidence
from satseg.drift.evidence import before_after, mean_iou, reason_of
from satseg.registry.card import model_card
from satseg.stages import DriftResult, EvidenceSpec
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef
from satseg.tracking.runs import get_run, read_artifact, tracked_run

COLUMNS = ["scene", "block", "reference", "class_id", "size_bin", "tp", "fp", "fn", "tn"]
NIGHT = "2026-03-02"


def blocks(*rows: tuple[str, str, int, int, int, int]) -> pd.DataFrame:
    """Rows are scene, block, class, tp, fp, fn."""
    return pd.DataFrame(
        [(scene, block, True, number, "all", tp, fp, fn, 0) for scene, block, number, tp, fp, fn in rows],
        columns=COLUMNS,
    )


def night() -> DriftResult:
    feature = {"feature": "mean_red", "distance": 0.8, "p_value": 0.01, "p_adjusted": 0.01, "shift": 2.0}
    return DriftResult.model_validate(
        {
            "message": "drift", "night": NIGHT, "verdict": "drift", "drifted": True, "p_value": 0.012, "champion": "v1",
            "kinds": ["radiometric"], "severity": "severe",
            "features": [feature | {"drifted": True, "change": "brighter"},
                         feature | {"feature": "noise", "drifted": False}],
        }
    )  # fmt: skip


def test_iou_is_of_summed_pixels_averaged_over_labelled_classes() -> None:
    table = blocks(("a", "1", 1, 6, 1, 1), ("a", "2", 1, 0, 2, 0), ("a", "1", 2, 1, 0, 1), ("a", "1", 3, 0, 0, 0))
    assert mean_iou(table) == pytest.approx((6 / 10 + 1 / 2) / 2)
    small = table.assign(size_bin="small")
    assert mean_iou(pd.concat([table, small])) == mean_iou(table)
    assert mean_iou(table.iloc[:0]) is None


def test_reason_names_what_moved() -> None:
    said = reason_of(night())
    assert said == (
        f"severe drift (radiometric) was confirmed on night {NIGHT} against v1, adjusted p 0.012: mean_red (brighter)"
    )


@pytest.fixture
def retrained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished run and its champion's, measured on old scene `a` and new scene `b`."""
    runs = []
    for name in ("champion", "retrained"):
        with tracked_run(workspace, "town", name=name, tags={"satseg.dataset_version": "v1"}, params={}) as run:
            runs.append(run.id)
    tables = {
        runs[0]: blocks(("a", "1", 1, 9, 1, 0), ("b", "1", 1, 2, 8, 0)),
        runs[1]: blocks(("a", "1", 1, 8, 2, 0), ("b", "1", 1, 8, 2, 0)),
    }
    monkeypatch.setattr(evidence, "read_blocks", lambda workspace, project, run, patch_set: tables[run])
    monkeypatch.setattr(evidence, "learned_scenes", lambda *_: {"a"})
    monkeypatch.setattr(
        evidence, "resolve_model",
        lambda workspace, project, name: ModelRef(runs[0] if name == "champion" else name, None, ()),
    )  # fmt: skip
    return runs[1]


def spec(run: str, night: str | None) -> EvidenceSpec:
    project = ProjectConfig(name="town", classes=("roof",))
    return EvidenceSpec(project=project, run=run, champion="champion", patch_set="a" * 12, night=night)


@pytest.mark.slow
def test_evidence_travels_with_the_run_to_the_card(workspace: Workspace, retrained: str) -> None:
    from satseg.drift.nights import write_report

    write_report(workspace, "town", night())
    wanted = spec(retrained, NIGHT)
    result = evidence.run(wanted, workspace)
    assert (result.old.champion, result.old.retrained) == (0.9, 0.8)
    assert (result.new.champion, result.new.retrained) == (0.2, 0.8)
    assert evidence.run(wanted, workspace) == result  # a retried task changes nothing
    record = get_run(workspace, retrained)
    assert record.tags["satseg.drift_night"] == NIGHT
    assert record.metrics["retraining/new_retrained"] == 0.8
    card = model_card(workspace, wanted.project, record, None)
    assert f"**Trained again** because severe drift (radiometric) was confirmed on night {NIGHT}" in card
    assert "IoU on old scenes 0.900 → 0.800 (1 blocks), on new scenes 0.200 → 0.800 (1 blocks)" in card
    assert '"verdict": "drift"' in read_artifact(workspace, retrained, "drift/report.json")
    assert '"night": "2026-03-02"' in read_artifact(workspace, retrained, "drift/retraining.json")


@pytest.mark.slow
def test_a_retraining_by_hand_says_so(workspace: Workspace, retrained: str) -> None:
    assert evidence.run(spec(retrained, None), workspace).reason == "a person asked for it"
    record = get_run(workspace, retrained)
    assert "satseg.drift_night" not in record.tags
    assert "**Trained again** because a person asked for it." in model_card(
        workspace, ProjectConfig(name="town", classes=("roof",)), record, None
    )


def test_without_test_blocks_on_new_scenes_nothing_is_made_up() -> None:
    empty = {"champion": blocks(), "retrained": blocks()}
    assert before_after(empty).model_dump() == {"champion": None, "retrained": None, "blocks": 0}
