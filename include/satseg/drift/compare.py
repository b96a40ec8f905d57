"""Test a night: its scenes against the scenes the champion was trained on."""

from pathlib import Path

import numpy as np
import pandas as pd

from satseg.config.project import ProjectConfig
from satseg.drift.decision import Decision, decide
from satseg.drift.nights import PAGE_FILE, PROFILE_FILE, check_night, scene_profiles, write_report
from satseg.drift.profile import ProfileKind, read_profile, write_profile
from satseg.drift.reference import Champion, champion_of, reference_profile
from satseg.errors import ConfigurationError, NotFoundError
from satseg.stages import DriftResult, DriftTestSpec
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace

FEATURES_NAMED = 3


def run(spec: DriftTestSpec, workspace: Workspace) -> DriftResult:
    """Decide whether a night drifted and write profile.parquet and report.json; the same inputs give the same result.

    Raises:
        NotFoundError: a scene asked for has no profile of this night.
        ConfigurationError: a profile was made with other drift settings.
    """
    project = spec.project
    folder = workspace.drift_night(project.name, check_night(spec.night))
    with exclusive(workspace.lock(f"drift-{project.name}-{spec.night}"), f"Night {spec.night}"):
        remove_stale_temps(folder)
        night = _night_profile(workspace, project, spec.night, spec.scenes)
        if not night.empty:
            write_profile(folder / PROFILE_FILE, night, ProfileKind.of(project))
        result = _tested(workspace, project, spec.night, night)
        (folder / PAGE_FILE).unlink(missing_ok=True)  # an older page would tell another result
        write_report(workspace, project.name, result)
    return result


def night_random(project: ProjectConfig, night: str) -> np.random.Generator:
    """Return the source of randomness of a night, the same in every run."""
    return np.random.default_rng([project.drift.seed, int(night.replace("-", ""))])


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
    return _without(reference_profile(workspace, project, result.reference_version), night), night


def _without(reference: pd.DataFrame, night: pd.DataFrame) -> pd.DataFrame:
    # a scene of the night that was also trained on would be compared with itself
    return reference[~reference["checksum"].isin(set(night["checksum"]))]


def _night_profile(workspace: Workspace, project: ProjectConfig, night: str, scenes: list[str] | None) -> pd.DataFrame:
    folder = scene_profiles(workspace, project.name, night)
    known = {path.stem: path for path in sorted(folder.glob("[!.]*.parquet"))}
    wanted = sorted(known if scenes is None else set(scenes))
    if missing := [scene for scene in wanted if scene not in known]:
        raise NotFoundError(
            f"No profile of {', '.join(missing)} for night {night} (there is {', '.join(known) or 'none'}). "
            f"Run `satseg drift profile --night {night} --scene {missing[0]}` first."
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


def _tested(workspace: Workspace, project: ProjectConfig, night: str, profile: pd.DataFrame) -> DriftResult:
    if profile.empty:
        return _undecided(night, "no new scenes", "no new scenes to compare", [])
    scenes = sorted(profile["scene"].unique())
    champion = champion_of(workspace, project.name)
    if champion is None:
        reason = f"{project.name} has no champion yet, so there is nothing to compare with; promote a model first"
        return _undecided(night, "not enough reference", reason, scenes)
    reference = _without(reference_profile(workspace, project, champion.dataset_version), profile)
    if reference.empty:
        reason = f"no labelled scene of {champion.dataset_version} is left besides the night's own"
        return _undecided(night, "not enough reference", reason, scenes, champion)
    decision = decide(reference, profile, ProfileKind.of(project).features, project.drift, night_random(project, night))
    if decision.permuted is None:
        return _undecided(night, "not enough reference", decision.explanation, scenes, champion, decision.warnings)
    return DriftResult(
        message=_message(night, decision, project.drift.min_effect),
        warnings=decision.warnings,
        night=night,
        verdict="drift" if decision.drifted else "no drift",
        drifted=decision.drifted,
        p_value=min(feature.p_adjusted for feature in decision.features),
        features=decision.features,
        scenes=scenes,
        reference_version=champion.dataset_version,
        champion=champion.label,
        permuted=decision.permuted,
        correction=decision.correction,
        false_alarm_bound=decision.false_alarm_bound,
        reference_scenes=int(reference["scene"].nunique()),
        patches={"reference": len(reference), "night": len(profile)},
    )


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


def _message(night: str, decision: Decision, min_effect: float) -> str:
    moved = [feature for feature in decision.features if feature.drifted]
    how = f"{decision.explanation}; {decision.correction} over {len(decision.features)} features"
    held_back = ""
    if decision.held_back:
        held_back = f" {decision.held_back} features differ, but no further than the scenes differ among themselves."
    if not moved:
        largest = max(decision.features, key=lambda feature: feature.distance)
        return (
            f"Night {night}: no drift. Largest distance {largest.distance:.2f} ({largest.feature}, adjusted p "
            f"{largest.p_adjusted:.3g}; distances below {min_effect:g} never count).{held_back} {how}."
        )
    named = "; ".join(feature.change for feature in moved[:FEATURES_NAMED])
    more = f" and {len(moved) - FEATURES_NAMED} more features" if len(moved) > FEATURES_NAMED else ""
    return f"Night {night}: DRIFT. {named[0].upper()}{named[1:]}{more}.{held_back} {how}."
