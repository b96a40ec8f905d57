"""Schedules from a project file's cron expressions (UTC; null means manual only)."""

from airflow.sdk import Asset, AssetOrTimeSchedule, CronDataIntervalTimetable, CronTriggerTimetable


def at_times(cron: str | None) -> CronTriggerTimetable | None:
    """Return the schedule that starts a run at points in time."""
    return CronTriggerTimetable(cron, timezone="UTC") if cron else None


def for_intervals(cron: str | None) -> CronDataIntervalTimetable | None:
    """Return the schedule whose runs are about the time since the one before."""
    return CronDataIntervalTimetable(cron, timezone="UTC") if cron else None


def on_asset_or_at_times(asset: Asset, cron: str | None) -> AssetOrTimeSchedule | list[Asset]:
    """Return the schedule that starts a run for each new version of an asset, and at points in time as well."""
    timetable = at_times(cron)
    return AssetOrTimeSchedule(timetable=timetable, assets=[asset]) if timetable else [asset]
