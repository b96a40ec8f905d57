"""Every stage as the orchestrator sees it: command, types, and whether it wants a GPU."""

from typing import NamedTuple

from satseg.stages.base import Result, Spec
from satseg.stages.data import IngestResult, IngestSpec, ListScenesResult, ListScenesSpec, PatchResult, PatchSpec
from satseg.stages.drift import (
    ConceptResult,
    ConceptSpec,
    DriftEpisodeResult,
    DriftEpisodeSpec,
    DriftProfileResult,
    DriftProfileSpec,
    DriftReportSpec,
    DriftResult,
    DriftStatusResult,
    DriftStatusSpec,
    DriftTestSpec,
    EvidenceResult,
    EvidenceSpec,
    LabelsResult,
    LabelsSpec,
)
from satseg.stages.evaluation import EvaluateResult, EvaluateSpec
from satseg.stages.lineage import LineageResult, LineageSpec, ReproduceResult, ReproduceSpec
from satseg.stages.maps import ExplainResult, ExplainSpec, ExportResult, ExportSpec, PredictResult, PredictSpec
from satseg.stages.registry import PromoteSpec, RegisterSpec, RegistryResult, RollbackSpec
from satseg.stages.selection import SelectResult, SelectSpec
from satseg.stages.training import TrainResult, TrainSpec, TuneResult, TuneSpec


class Stage(NamedTuple):
    """One subcommand of `satseg` as the orchestrator sees it."""

    command: tuple[str, ...]
    spec: type[Spec]
    result: type[Result]
    gpu: bool
    description: str
    timeout_minutes: int = 60


STAGES: dict[str, Stage] = {
    "ingest": Stage(("ingest",), IngestSpec, IngestResult, False, "Bring scenes and labels into the dataset.", 720),
    "scenes": Stage(("datasets", "scenes"), ListScenesSpec, ListScenesResult, False, "List scenes by version or time."),
    "patch": Stage(("patch",), PatchSpec, PatchResult, False, "Cut scenes into a patch set.", 720),
    "train": Stage(("train",), TrainSpec, TrainResult, True, "Train a model.", 2880),
    "tune": Stage(("tune",), TuneSpec, TuneResult, True, "Search hyper-parameters; a trial is a training.", 2880),
    "evaluate": Stage(("evaluate",), EvaluateSpec, EvaluateResult, True, "Measure a model on held-out blocks.", 240),
    "register": Stage(("register",), RegisterSpec, RegistryResult, False, "Register a run as challenger."),
    "promote": Stage(
        ("promote",), PromoteSpec, RegistryResult, True, "Decide whether a version becomes champion.", 240
    ),
    "rollback": Stage(("rollback",), RollbackSpec, RegistryResult, False, "Return to the previous champion."),
    "predict": Stage(("predict",), PredictSpec, PredictResult, True, "Predict whole scenes.", 720),
    "explain": Stage(("explain",), ExplainSpec, ExplainResult, True, "Show where a model looks.", 240),
    "export": Stage(("export",), ExportSpec, ExportResult, False, "Make a model file for another engine.", 240),
    "drift-profile": Stage(("drift", "profile"), DriftProfileSpec, DriftProfileResult, False, "Profile scenes.", 240),
    "drift-test": Stage(("drift", "test"), DriftTestSpec, DriftResult, False, "Compare a night with the reference."),
    "drift-report": Stage(("drift", "report"), DriftReportSpec, DriftResult, False, "Draw a night's report."),
    "drift-status": Stage(("drift", "status"), DriftStatusSpec, DriftStatusResult, False, "Is drift confirmed?"),
    "drift-episode": Stage(
        ("drift", "episode"), DriftEpisodeSpec, DriftEpisodeResult, False, "Open or close an episode."
    ),
    "drift-labels": Stage(("drift", "labels"), LabelsSpec, LabelsResult, False, "Has a retraining enough new labels?"),
    "drift-evidence": Stage(
        ("drift", "evidence"),
        EvidenceSpec,
        EvidenceResult,
        False,
        "Keep why a model was retrained, and what it changed.",
    ),
    "drift-concept": Stage(
        ("drift", "concept"), ConceptSpec, ConceptResult, True, "Measure the champion on labels that came later."
    ),
    "select": Stage(("select",), SelectSpec, SelectResult, True, "Choose windows worth labelling.", 240),
    "lineage": Stage(("lineage",), LineageSpec, LineageResult, False, "Print the chain behind something."),
    "reproduce": Stage(
        ("reproduce",), ReproduceSpec, ReproduceResult, True, "Make a model again and compare the weights.", 2880
    ),
}
