"""The two looks at a night: at its pixels and, where the champion has predicted its scenes, at the predictions."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.drift.decision import ENCODER, TOGETHER, Decision, decide
from satseg.drift.embeddings import embedding_columns, with_embeddings
from satseg.drift.features import kind_of
from satseg.drift.multivariate import fourier_features
from satseg.drift.nights import PREDICTIONS_FILE, PROFILE_FILE
from satseg.drift.period import Period, unseen
from satseg.drift.predictions import STATISTICS, held_out, predictions_of
from satseg.drift.profile import ProfileKind, read_profile, write_profile
from satseg.drift.reference import Champion, records_of
from satseg.drift.units import Units
from satseg.errors import NotFoundError
from satseg.progress import say
from satseg.stages import FeatureDrift
from satseg.storage.layout import Workspace
from satseg.tracking.models import model_folder, resolve_model

PREDICTION_SHARE = 1 / 6  # of the night's level; the pixels keep enough to decide on one new scene beside 40


@dataclass(frozen=True)
class Question:
    """A night, and what it is compared with."""

    workspace: Workspace
    project: ProjectConfig
    night: str
    champion: Champion
    period: Period

    def random(self, look: int = 0) -> np.random.Generator:
        """Return the source of randomness of a look at the night, the same in every run."""
        seed = [self.project.drift.seed, int(self.night.replace("-", ""))]
        return np.random.default_rng([*seed, look] if look else seed)

    def model_folder(self) -> Path:
        """Return the folder of the champion's model."""
        reference = self.champion.run_id or "champion"
        return model_folder(self.workspace, resolve_model(self.workspace, self.project.name, reference))

    def encoder_space(self, both: pd.DataFrame, values: NDArray[np.float32], units: Units) -> NDArray[np.float64]:
        """Return the patches in the space in which the encoder's views are compared; see `decide`."""
        return fourier_features(both[embedding_columns(both)].to_numpy(np.float32), self.random(2))

    def earlier(self, file: str, *others: pd.DataFrame) -> pd.DataFrame:
        """Return what the earlier nights of the period compared, without scenes that the others hold.

        Nights that lack a column, because the settings were others then, are left out.
        """
        kind, frames = ProfileKind.of(self.project), list(others)
        for night in self.period.nights:
            path = self.workspace.drift_night(self.project.name, night) / file
            profile = read_profile(path, kind) if path.is_file() else None
            if profile is not None and set(others[0].columns) <= set(profile.columns):
                frames.append(unseen(profile, *frames))
        kept = [frame for frame in frames[len(others) :] if not frame.empty]
        return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()


def pixel_look(question: Question, reference: pd.DataFrame, night: pd.DataFrame, share: float) -> Decision:
    """Compare light, colour and texture at a share of the night's level."""
    features = ProfileKind.of(question.project).features
    earlier = question.earlier(PROFILE_FILE, reference, night)
    level = share * question.period.level
    decision = decide(reference, night, features, question.project.drift, level, question.random(), earlier)
    return _weighted(decision, share, prediction=False)


def prediction_look(
    question: Question, reference: pd.DataFrame, night: pd.DataFrame
) -> tuple[Decision, pd.DataFrame] | str:
    """Compare what the champion predicts; returns the night's statistics too, or in words why it cannot be done."""
    workspace, project, champion = question.workspace, question.project, question.champion
    records = records_of(workspace, project.name, None)
    new = predictions_of(workspace, project, champion.label, night, records)
    if new.empty or new["checksum"].nunique() < night["checksum"].nunique():
        return f"champion {champion.label} has not predicted all scenes of the night"
    if champion.patch_set is None:
        return f"the run of champion {champion.label} names no patch set"
    known = _reference_predictions(question, reference)
    if isinstance(known, str):
        return known
    level = PREDICTION_SHARE * question.period.level
    random, encoder = question.random(1), question.encoder_space
    if project.drift.embeddings:
        new = with_embeddings(new, records, question.model_folder(), project.drift.patch_px)
        earlier = question.earlier(PREDICTIONS_FILE, known, new)
        decision = decide(known, new, STATISTICS, project.drift, level, random, earlier, encoder)
    else:
        earlier = question.earlier(PREDICTIONS_FILE, known, new)
        decision = decide(known, new, STATISTICS, project.drift, level, random, earlier)
    if decision.permuted is None:
        return decision.explanation
    return _weighted(decision, PREDICTION_SHARE, prediction=True), new


def _reference_predictions(question: Question, reference: pd.DataFrame) -> pd.DataFrame | str:
    workspace, project, champion = question.workspace, question.project, question.champion
    assert champion.patch_set is not None
    kind = ProfileKind.of(project)
    path = workspace.drift_reference(project.name, champion.dataset_version) / f"predictions-{champion.label}.parquet"
    known = read_profile(path, kind) if path.is_file() else None
    if known is None or bool(embedding_columns(known)) != project.drift.embeddings:
        records = records_of(workspace, project.name, champion.dataset_version)
        say(f"Describing what {champion.label} predicts for the reference.")
        known = predictions_of(workspace, project, champion.label, reference, records)
        if known.empty:
            return f"champion {champion.label} has predicted no scene of the reference"
        try:
            known = held_out(known, workspace, project.name, champion.patch_set, kind.patch_px)
        except NotFoundError as error:
            return str(error)
        if project.drift.embeddings and not known.empty:
            known = with_embeddings(known, records, question.model_folder(), kind.patch_px)
        write_profile(path, known, kind)
    known = known[known["checksum"].isin(set(reference["checksum"]))]
    if known.empty:
        return f"no patch of {kind.patch_px} px of the reference lies outside the champion's training windows"
    return known


def _weighted(decision: Decision, share: float, prediction: bool) -> Decision:
    """Return p-values that compare with the whole night's level, and the kind of each test."""

    def told(test: FeatureDrift) -> FeatureDrift:
        of_pixels = "content" if test.feature in {TOGETHER, ENCODER} else kind_of(test.feature)
        kind = "prediction" if prediction and test.feature != ENCODER else of_pixels
        return test.model_copy(update={"p_adjusted": min(1.0, test.p_adjusted / share), "kind": kind})

    together = decision.together
    return replace(
        decision,
        features=[told(feature) for feature in decision.features],
        together=told(together) if together is not None else None,
    )
