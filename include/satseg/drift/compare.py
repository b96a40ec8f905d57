"""Test a night: its scenes against the scenes the champion was trained on."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from satseg.config.project import ProjectConfig
from satseg.drift.gauge import write_gauge
from satseg.drift.looks import PREDICTION_SHARE, Question, pixel_look, prediction_look
from satseg.drift.nights import (
    PAGE_FILE,
    PREDICTIONS_FILE,
    PROFILE_FILE,
    check_night,
    read_report,
    scene_profiles,
    tested_nights,
    write_report,
)
from satseg.drift.period import period_of, unseen
from satseg.drift.profile import ProfileKind, read_profile, write_profile
from satseg.drift.reference import Champion, champion_of, in_season, reference_profile
from satseg.drift.verdict import told
from satseg.errors import ConfigurationError, NotFoundError
from satseg.stages import DriftResult, DriftTestSpec
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace


def run(spec: DriftTestSpec, workspace: Workspace) -> DriftResult:
    """Decide whether a night drifted and write profile.parquet and report.json; the same inputs give the same result.

    A result about other scenes is evidence, maybe of a running retraining: it is kept unless the spec says `force`.

    Raises:
        NotFoundError: a scene asked for has no profile of this night, or none at all has one.
        ConfigurationError: a profile was made with other drift settings.
    """
    project = spec.project
    folder = workspace.drift_night(project.name, check_night(spec.night))
    with exclusive(workspace.lock(f"drift-{project.name}-{spec.night}"), f"Night {spec.night}"):
        remove_stale_temps(folder)
        night = _night_profile(workspace, project, spec)
        result, compared = _Comparison(workspace, project, spec.night, champion_of(workspace, project.name)).test(night)
        earlier = None if spec.force else _decided_before(workspace, project, spec.night)
        if earlier is not None and set(earlier.scenes) != set(result.scenes):
            return _kept(earlier, night)
        compared.write(folder, ProfileKind.of(project))
        (folder / PAGE_FILE).unlink(missing_ok=True)  # an older page would tell another result
        write_report(workspace, project.name, result)
        if tested_nights(workspace, project.name)[-1] == spec.night:
            write_gauge(workspace, project.name, result)
    return result


def _decided_before(workspace: Workspace, project: ProjectConfig, night: str) -> DriftResult | None:
    if night not in tested_nights(workspace, project.name):
        return None
    earlier = read_report(workspace, project.name, night)
    return earlier if earlier.verdict in {"drift", "no drift"} else None


def _scenes_of(profile: pd.DataFrame) -> set[str]:
    return set() if profile.empty else set(profile["scene"])


def _kept(earlier: DriftResult, night: pd.DataFrame) -> DriftResult:
    asked = ", ".join(sorted(_scenes_of(night))) or "no scene"
    message = (
        f"Night {earlier.night} was tested on {', '.join(earlier.scenes)} ({earlier.verdict}); that result is kept, "
        f"and {asked} was not tested. Give another --night, or replace it with --force."
    )
    return earlier.model_copy(update={"message": message, "kept": True})


@dataclass(frozen=True)
class Compared:
    """What of a night was compared: its patches, and what the champion predicts there."""

    pixels: pd.DataFrame
    predictions: pd.DataFrame | None = None

    def write(self, folder: Path, kind: ProfileKind) -> None:
        """Keep it for later nights and for the report."""
        if not self.pixels.empty:
            write_profile(folder / PROFILE_FILE, self.pixels, kind)
        if self.predictions is not None:
            write_profile(folder / PREDICTIONS_FILE, self.predictions, kind)
        else:
            (folder / PREDICTIONS_FILE).unlink(missing_ok=True)


def compared_profiles(
    workspace: Workspace, project: ProjectConfig, result: DriftResult
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the profiles of reference and night that a decided result compared.

    Raises:
        ConfigurationError: the drift settings have changed since the test.
    """
    path = workspace.drift_night(project.name, result.night) / PROFILE_FILE
    night = read_profile(path, ProfileKind.of(project)) if path.is_file() else None
    if night is None or result.reference_version is None:
        raise ConfigurationError(
            f"Night {result.night} was tested with other drift settings. Run `satseg drift profile` and "
            f"`satseg drift test --night {result.night}` again."
        )
    return reference_profile(workspace, project, result.reference_version), night


def _night_profile(workspace: Workspace, project: ProjectConfig, spec: DriftTestSpec) -> pd.DataFrame:
    night, scenes = spec.night, spec.scenes
    folder = scene_profiles(workspace, project.name, night)
    known = {path.stem: path for path in sorted(folder.glob("[!.]*.parquet"))}
    wanted = sorted(known if scenes is None else set(scenes))
    if missing := [scene for scene in wanted if scene not in known]:
        raise NotFoundError(
            f"No profile of {', '.join(missing)} for night {night} (there is {', '.join(known) or 'none'}). "
            f"Run `satseg drift profile --night {night} --scene {missing[0]}` first."
        )
    if not wanted and not spec.may_be_empty:
        raise NotFoundError(
            f"No scene has a profile for night {night}. Run `satseg drift profile --night {night} --scene ID` first, "
            "or say --may-be-empty when no scene came."
        )
    parts = [part for scene in wanted if not (part := _scene_profile(known[scene], project, night)).empty]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _scene_profile(path: Path, project: ProjectConfig, night: str) -> pd.DataFrame:
    profile = read_profile(path, ProfileKind.of(project))
    if profile is None:
        raise ConfigurationError(
            f"The profile of {path.stem} for night {night} was made with other bands, drift.patch_px or "
            f"drift.block_patches. Run `satseg drift profile --night {night} --scene {path.stem}` again."
        )
    return profile


@dataclass(frozen=True)
class _Comparison:
    """A night against the reference of a champion."""

    workspace: Workspace
    project: ProjectConfig
    night: str
    champion: Champion | None

    def test(self, profile: pd.DataFrame) -> tuple[DriftResult, Compared]:
        """Return the result, and the parts of the night's profile it rests on."""
        if profile.empty:
            return _undecided(self.night, "no new scenes", "no new scenes to compare", []), Compared(profile)
        scenes, champion = sorted(_scenes_of(profile)), self.champion
        if champion is None:
            reason = (
                f"{self.project.name} has no champion yet, so there is nothing to compare with; promote a model first"
            )
            return _undecided(self.night, "not enough reference", reason, scenes), Compared(profile)
        reference = reference_profile(self.workspace, self.project, champion.dataset_version)
        # what the champion learned from is the reference, however lately it came
        new = unseen(profile, reference)
        if new.empty:
            reason = f"champion {champion.label} was trained on {', '.join(scenes)}"
            return _undecided(self.night, "no new scenes", reason, [], champion), Compared(new)
        if reference.empty:
            reason = f"{champion.dataset_version} holds no labelled scene"
            return _undecided(self.night, "not enough reference", reason, scenes, champion), Compared(new)
        known = sorted(_scenes_of(profile) - _scenes_of(new))
        warnings = [f"Left out, the champion was trained on them: {', '.join(known)}."] if known else []
        reference, season = in_season(reference, self.night, self.project.drift.reference_season_days)
        if reference.empty:
            assert season is not None
            return _undecided(self.night, "not enough reference", season, scenes, champion, warnings), Compared(new)
        return self._decided(reference, new, champion, [*warnings, *([season] if season else [])])

    def _decided(
        self, reference: pd.DataFrame, new: pd.DataFrame, champion: Champion, warnings: list[str]
    ) -> tuple[DriftResult, Compared]:
        scenes = sorted(_scenes_of(new))
        period = period_of(self.workspace, self.project, self.night, champion.label)
        question = Question(self.workspace, self.project, self.night, champion, period)
        predicted = prediction_look(question, reference, new) if self.project.drift.predictions else None
        both = not isinstance(predicted, str) and predicted is not None
        pixels = pixel_look(question, reference, new, 1 - PREDICTION_SHARE if both else 1.0)
        warnings = [*warnings, *pixels.warnings]
        if isinstance(predicted, str):
            warnings.append(f"Predictions were not tested: {predicted.removesuffix('.')}.")
        if pixels.permuted is None:
            reason = pixels.explanation
            return _undecided(self.night, "not enough reference", reason, scenes, champion, warnings), Compared(new)
        looks = [pixels] if isinstance(predicted, str) or predicted is None else [pixels, predicted[0]]
        table = None if isinstance(predicted, str) or predicted is None else predicted[1]
        result = told(self.project, self.night, looks, period)
        result = result.model_copy(
            update={
                "warnings": warnings,
                "scenes": scenes,
                "reference_version": champion.dataset_version,
                "champion": champion.label,
                "reference_scenes": int(reference["scene"].nunique()),
                "patches": {"reference": len(reference), "night": len(new)},
            }
        )
        return result, Compared(new, table)


def _undecided(  # noqa: PLR0917 - one call per reason
    night: str,
    verdict: str,
    reason: str,
    scenes: list[str],
    champion: Champion | None = None,
    warnings: list[str] | None = None,
) -> DriftResult:
    return DriftResult.model_validate(
        {
            "message": f"Night {night}: {verdict} ({reason.removesuffix('.')}).",
            "warnings": warnings or [],
            "night": night,
            "verdict": verdict,
            "drifted": False,
            "p_value": None,
            "scenes": scenes,
            "reference_version": champion.dataset_version if champion else None,
            "champion": champion.label if champion else None,
        }
    )
