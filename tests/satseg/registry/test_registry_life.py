"""Evaluate, register, promote, refuse and roll back against a real MLflow; these tests build on each other."""

import json

import pytest

from satseg.cli import app as cli
from satseg.config.settings import settings
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.evaluation import evaluate
from satseg.registry import promote, register, rollback, swap
from satseg.registry.audit import entries
from satseg.registry.overview import compare_models, list_models, show_model
from satseg.stages import EvaluateSpec, PromoteSpec, RegisterSpec, RollbackSpec
from satseg.tracking.models import alias_version, set_alias

pytestmark = pytest.mark.slow

FIRST_SET, SECOND_SET = "a" * 12, "b" * 12  # the patch sets of conftest's world
GOOD, WORSE, BETTER, EVERYWHERE = 140, 90, 128, 0


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture(scope="module")
def runs(world):
    return {red: world.train(red) for red in (GOOD, WORSE, EVERYWHERE)} | {
        BETTER: world.train(BETTER, patch_set=SECOND_SET)
    }


@pytest.fixture(autouse=True)
def another_process(runs, probed_here, tmp_path):
    """MLflow's own address points elsewhere, as in a `satseg register` that has opened no run before."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    yield
    mlflow.set_tracking_uri(before)
    assert not (tmp_path / "other.db").exists()


def aliases(world):
    return {alias: row.version for row in list_models(world.workspace, "houses") for alias in row.aliases}


def stages(world):
    return {row.version: row.stage for row in list_models(world.workspace, "houses")}


def log(world):
    return [(e.action, e.from_version, e.to_version) for e in entries(world.workspace.audit_log("houses"))]


def promoting(world, version, **more):
    return promote.run(PromoteSpec(project=world.project, version=version, **more), world.workspace)


def registering(world, run_id):
    return register.run(RegisterSpec(project=world.project, run=run_id), world.workspace)


def test_scores_equal_plain_numpy_on_all_reference_and_new_blocks(world, runs):
    result = evaluate.run(EvaluateSpec(project=world.project, model=runs[BETTER]), world.workspace)
    assert result.patch_set == SECOND_SET
    assert result.iou == pytest.approx(world.expected_iou(BETTER, SECOND_SET))
    assert result.reference.iou == pytest.approx(world.expected_iou(BETTER, SECOND_SET, slice(0, 8)))
    assert result.new.iou == pytest.approx(world.expected_iou(BETTER, SECOND_SET, slice(8, 10)))
    assert result.per_scene.keys() == {"east", "west", "young"}
    assert result.iou_all_positive == pytest.approx((world.labels[SECOND_SET] > 0).mean())
    assert (result.windows, result.blocks) == (10, 9)


def test_report_and_pictures_are_in_the_workspace_and_metrics_in_mlflow(world, runs):
    from satseg.tracking.runs import get_run

    folder = world.workspace.evaluation("houses", runs[BETTER]) / SECOND_SET
    names = {path.name for path in folder.iterdir()}
    assert names >= {"report.json", "blocks.parquet", "samples.png", "scene-east.png", "scene-young.png"}
    metrics = get_run(world.workspace, runs[BETTER]).metrics
    assert metrics["test/iou"] == pytest.approx(world.expected_iou(BETTER, SECOND_SET))
    assert "test/new/iou" in metrics


def test_same_question_is_answered_from_the_stored_report_unless_forced(world, runs, monkeypatch):
    spec = EvaluateSpec(project=world.project, model=runs[BETTER])
    stored = evaluate.run(spec, world.workspace)
    loaded = []
    original = evaluate.load
    monkeypatch.setattr(evaluate, "load", lambda *args: loaded.append(1) or original(*args))
    assert evaluate.run(spec, world.workspace) == stored
    assert not loaded
    evaluate.run(spec.model_copy(update={"force": True}), world.workspace)
    assert len(loaded) == 1
    stricter = world.project.model_copy(
        update={"inference": world.project.inference.model_copy(update={"threshold": 1.0})}
    )
    evaluate.run(EvaluateSpec(project=stricter, model=runs[BETTER]), world.workspace)
    assert len(loaded) == 2
    evaluate.run(spec, world.workspace)


def test_scores_on_a_foreign_patch_set_do_not_overwrite_the_models_own(world, runs):
    from satseg.tracking.runs import get_run

    own = evaluate.run(EvaluateSpec(project=world.project, model=runs[GOOD]), world.workspace)
    evaluate.run(EvaluateSpec(project=world.project, model=runs[GOOD], patch_set=SECOND_SET), world.workspace)
    metrics = get_run(world.workspace, runs[GOOD]).metrics
    assert metrics["test/iou"] == pytest.approx(own.iou)
    assert f"test_on_{SECOND_SET}/iou" in metrics


def test_patch_set_that_is_gone_is_named_with_the_way_out(world, runs):
    lost = world.train(100, patch_set="c" * 12)
    with pytest.raises(
        NotFoundError, match=r"trained on patch set c{12}, which is gone.*satseg patch --dataset-version v1"
    ):
        evaluate.run(EvaluateSpec(project=world.project, model=lost), world.workspace)


def test_without_champion_and_versions_the_errors_say_what_to_do(world, runs):
    with pytest.raises(NotFoundError, match="Nothing is registered yet"):
        promoting(world, "1")
    with pytest.raises(NotFoundError, match="no champion to roll back"):
        rollback.run(RollbackSpec(project=world.project), world.workspace)
    with pytest.raises(NotFoundError, match=r"not a registered version.*satseg register"):
        promoting(world, runs[GOOD])


def test_failed_run_cannot_be_registered(world):
    failed = world.train(GOOD, fail=True)
    with pytest.raises(BadDataError, match="is FAILED, not FINISHED"):
        registering(world, failed)
    assert list_models(world.workspace, "houses") == []


def test_registering_killed_half_way_is_completed_with_the_same_version(world, runs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(register, "set_alias", lambda *args: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            registering(world, runs[EVERYWHERE])
    done = registering(world, runs[EVERYWHERE])
    assert (done.version, done.alias, done.decision) == ("1", "challenger", "registered")
    assert aliases(world) == {"challenger": "1"}
    assert log(world) == [("registered", None, "1")]


def test_registering_twice_changes_nothing(world, runs):
    again = registering(world, runs[EVERYWHERE])
    assert (again.version, again.decision) == ("1", "unchanged")
    assert len(list_models(world.workspace, "houses")) == 1
    assert stages(world) == {"1": "Staging"}


def test_map_positive_everywhere_is_refused_and_stays_challenger(world):
    refused = promoting(world, "challenger")
    assert refused.decision == "refused"
    assert {gate.name for gate in refused.gates if not gate.passed} == {"floor", "above_all_positive"}
    assert "floor: test IoU" in refused.message
    assert aliases(world) == {"challenger": "1"}
    row = show_model(world.workspace, "houses", "1")
    assert row.decision == "refused"
    assert "must be at least 0.600" in row.reason
    assert log(world)[-1] == ("refused", None, "1")


def test_refusal_ends_the_command_with_4_and_a_result_file(world, monkeypatch, tmp_path, capsys):
    project = tmp_path / "houses.yaml"
    project.write_text(json.dumps(world.project.model_dump(mode="json")))
    monkeypatch.setenv("SATSEG_WORKSPACE", str(world.workspace.root))
    settings.cache_clear()
    try:
        code = cli.main(["promote", "1", "--check", "-p", str(project), "--result", str(tmp_path / "r.json")])
        assert code == 4
        assert json.loads((tmp_path / "r.json").read_text())["decision"] == "refused"
        assert "floor" in capsys.readouterr().out
        assert cli.main(["models", "list", "-p", str(project), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["version"] == "1"
        assert cli.main(["promote", "9", "-p", str(project)]) == 2
        assert "There are: v1 @challenger" in capsys.readouterr().err
    finally:
        settings.cache_clear()


def test_good_model_becomes_the_first_champion(world, runs):
    assert registering(world, runs[GOOD]).version == "2"
    assert aliases(world) == {"challenger": "2"}
    checked = promoting(world, "challenger", check=True)
    assert checked.decision == "promotable"
    assert aliases(world) == {"challenger": "2"}
    done = promoting(world, "challenger", reason="first", approved_by="Ada")
    assert (done.decision, done.alias, done.previous) == ("promoted", "champion", None)
    assert aliases(world) == {"champion": "2"}
    assert stages(world) == {"1": "None", "2": "Production"}
    last = entries(world.workspace.audit_log("houses"))[-1]
    assert (last.who, last.reason, last.to_version) == ("Ada", f"all {len(last.gates)} gates passed; first", "2")


def test_promoting_the_champion_again_changes_nothing(world):
    before = log(world)
    assert promoting(world, "2").decision == "unchanged"
    assert promoting(world, "champion").decision == "unchanged"
    assert log(world) == before


def test_champion_without_predecessor_cannot_be_rolled_back(world):
    with pytest.raises(NotFoundError, match="Champion v2 of 'houses' has no predecessor"):
        rollback.run(RollbackSpec(project=world.project), world.workspace)


def test_worse_challenger_is_refused_against_the_champion(world, runs):
    registering(world, runs[WORSE])
    easy = world.project.model_copy(update={"promotion": world.project.promotion.model_copy(update={"min_iou": 0.1})})
    refused = promote.run(PromoteSpec(project=easy, version="3", check=True), world.workspace)
    (worse,) = [gate for gate in refused.gates if not gate.passed]
    assert (worse.name, worse.outcome) == ("not_worse_than_champion", "not enough evidence")  # in four blocks
    assert worse.value == pytest.approx(world.expected_iou(WORSE) - world.expected_iou(GOOD))
    assert {gate.name for gate in refused.gates} > {"not_worse_scene_east", "not_worse_scene_west", "calibration"}
    assert refused.links.keys() == {"report", "training run"}
    assert refused.previous == "2"
    assert aliases(world) == {"champion": "2", "challenger": "3"}


def test_model_that_predicts_nan_is_refused(world):
    version = registering(world, world.train(1, nan=True)).version
    refused = promoting(world, version)
    assert [gate.name for gate in refused.gates] == ["loads_and_predicts"]
    assert "NaN" in refused.gates[0].evidence


def test_manual_approval_wants_a_name(world):
    manual = world.project.model_copy(
        update={"promotion": world.project.promotion.model_copy(update={"approval": "manual"})}
    )
    with pytest.raises(ConfigurationError, match="--approved-by NAME"):
        promote.run(PromoteSpec(project=manual, version="3"), world.workspace)


def _kill_before_step(patch, step):
    calls = []

    def wrap(function):
        def called(*args, **kwargs):
            calls.append(function)
            if len(calls) == step:
                raise Killed
            return function(*args, **kwargs)

        return called

    for name in ("write_json", "set_alias", "record_decision", "append", "delete_alias", "sync_stage_tags"):
        patch.setattr(swap, name, wrap(getattr(swap, name)))


@pytest.mark.parametrize("step", range(1, 8))
def test_promotion_killed_at_any_step_leaves_one_champion_and_the_retry_finishes_it(world, runs, monkeypatch, step):
    version = registering(world, runs[BETTER]).version
    set_alias(world.workspace, "houses", "challenger", version)
    with monkeypatch.context() as patch:
        _kill_before_step(patch, step)
        with pytest.raises(Killed):
            promoting(world, version)
    assert alias_version(world.workspace, "houses", "champion") == ("2" if step <= 2 else version)  # mends nothing
    done = promoting(world, version)
    assert (done.decision, done.previous) == ("promoted", "2")
    assert done.gates
    held = aliases(world)
    assert (held["champion"], held["previous"]) == (version, "2")
    assert held.get("challenger") != version
    assert (stages(world)[version], stages(world)["2"]) == ("Production", "Archived")
    assert log(world)[-1] == ("promoted", "2", version)
    assert not list(world.workspace.audit_log("houses").parent.glob("*.pending.json"))
    back = rollback.run(RollbackSpec(project=world.project, reason="test"), world.workspace)
    assert (back.version, back.decision, back.previous) == ("2", "rolled_back", version)
    assert log(world)[-2:] == [("promoted", "2", version), ("rolled_back", version, "2")]
    assert aliases(world)["champion"] == "2"
    assert "previous" not in aliases(world)


def test_rollback_killed_after_the_swap_does_not_go_back_twice(world, runs, monkeypatch):
    better = registering(world, runs[BETTER]).version
    promoting(world, better)
    with monkeypatch.context() as patch:
        _kill_before_step(patch, 3)
        with pytest.raises(Killed):
            rollback.run(RollbackSpec(project=world.project), world.workspace)
    assert alias_version(world.workspace, "houses", "champion") == "2"
    again = rollback.run(RollbackSpec(project=world.project), world.workspace)
    assert (again.version, again.decision) == ("2", "rolled_back")
    assert log(world)[-1] == ("rolled_back", better, "2")


def test_champion_that_moves_during_the_measuring_makes_the_comparison_void(world, runs, monkeypatch):
    better = registering(world, runs[BETTER]).version
    original = promote.judge

    def judge(*args):
        judgement = original(*args)
        with monkeypatch.context() as patch:  # somebody else promotes while this one measures
            patch.setattr(promote, "judge", original)
            promoting(world, better)
        return judgement

    monkeypatch.setattr(promote, "judge", judge)
    easy = world.project.model_copy(
        update={"promotion": world.project.promotion.model_copy(update={"min_iou": 0.1, "max_iou_loss": 0.5})}
    )
    done = promote.run(PromoteSpec(project=easy, version="3"), world.workspace)
    assert (done.decision, done.previous) == ("refused", "2")
    assert f"v{better} became champion while v3 was judged against v2; promote v3 again" in done.message
    assert log(world)[-2:] == [("promoted", "2", better), ("refused", "2", "3")]
    assert rollback.run(RollbackSpec(project=world.project), world.workspace).version == "2"


def test_person_decides_where_the_evidence_does_not(world, runs, monkeypatch):
    better = registering(world, runs[BETTER]).version
    unsure = world.project.model_copy(
        update={"promotion": world.project.promotion.model_copy(update={"approval": "unsure"})}
    )
    asked = promote.run(PromoteSpec(project=unsure, version=better), world.workspace)
    assert asked.decision == "undecided"
    assert "not_worse_than_champion" in asked.undecided
    assert f"satseg promote {better} -p houses --approved-by NAME" in asked.message
    assert aliases(world)["champion"] == "2"
    no = promote.run(
        PromoteSpec(project=unsure, version=better, rejected_by="Ada", reason="looks odd"), world.workspace
    )
    assert (no.decision, aliases(world)["champion"]) == ("refused", "2")
    last = entries(world.workspace.audit_log("houses"))[-1]
    assert (last.who, last.action, last.reason) == ("Ada", "refused", "rejected by Ada; looks odd")
    tags = show_model(world.workspace, "houses", better).tags
    assert (tags["satseg.decided_by"], tags["satseg.decision"]) == ("Ada", "refused")
    yes = promote.run(PromoteSpec(project=unsure, version=better, approved_by="Bob"), world.workspace)
    assert (yes.decision, yes.warnings) == ("promoted", [])
    evidence = entries(world.workspace.audit_log("houses"))[-1].evidence
    assert evidence["decided_by"] == "Bob"
    assert "not_worse_than_champion" in evidence["not_enough_evidence"]
    shown = show_model(world.workspace, "houses", "champion")
    assert "by Bob" in shown.champion_because
    assert shown.goes_back_to == "2"
    assert rollback.run(RollbackSpec(project=world.project), world.workspace).version == "2"


def test_automatic_decision_without_evidence_says_what_decided(world, runs):
    better = registering(world, runs[BETTER]).version
    done = promoting(world, better)
    assert done.decision == "promoted"
    (warning,) = done.warnings
    assert "nobody is asked (promotion.approval: auto)" in warning
    assert "the measured difference over the whole decides" in warning


def test_same_wish_to_go_back_is_carried_out_once(world):
    before = aliases(world)["champion"]
    wish = RollbackSpec(project=world.project, reason="test", by="Ada", request="run-7")
    first = rollback.run(wish, world.workspace)
    assert (first.version, first.previous) == ("2", before)
    assert rollback.run(wish, world.workspace) == first
    assert aliases(world)["champion"] == "2"
    assert entries(world.workspace.audit_log("houses"))[-1].who == "Ada"


def test_yes_and_no_at_once_is_refused(world):
    with pytest.raises(ConfigurationError, match="either --approved-by or --rejected-by"):
        promoting(world, "2", approved_by="Ada", rejected_by="Bob")


def test_versions_are_shown_and_compared_on_the_same_blocks(world, runs):
    rows = list_models(world.workspace, "houses")
    assert [int(row.version) for row in rows] == sorted((int(row.version) for row in rows), reverse=True)
    better = next(row.version for row in rows if row.run_id == runs[BETTER])
    detail = show_model(world.workspace, "houses", better)
    assert "held-out blocks" in detail.description
    assert "| IoU | " in detail.description
    assert "| 95% interval over blocks |" in detail.description
    assert detail.reports.keys() == {SECOND_SET}
    assert {entry.action for entry in detail.history} >= {"registered", "promoted", "rolled_back"}
    comparison = compare_models(world.workspace, "houses", "2", better)
    assert comparison.patch_set == SECOND_SET
    reference = next(pair for pair in comparison.scores if pair.where == "reference blocks")
    assert reference.first == pytest.approx(world.expected_iou(GOOD, FIRST_SET))
    assert reference.low < reference.second - reference.first < reference.high
    assert ("param red", "140", "128") in {(d.what, d.first, d.second) for d in comparison.differences}
