"""The feature profiles that the service logs of its requests, as profiles that a night can be tested on.

Requests of one hour count as one scene: a client sends neighbouring tiles one after the other, and these are no more
independent of each other than patches of a scene.
"""

import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from satseg.drift.nights import check_night
from satseg.drift.units import REQUESTS
from satseg.errors import NotFoundError


def request_profiles(
    folder: Path, day: str, patch_px: int, features: tuple[str, ...]
) -> tuple[dict[str, pd.DataFrame], int]:
    """Read the requests of a day (UTC).

    Args:
        folder: of the service's log.
        day: YYYY-MM-DD.
        patch_px: side of the patches that profiles are compared with.
        features: their features.

    Returns:
        A profile for each hour with requests, by name, with the columns of `profile_scene`; and how many patches were
        left out, because they are of another size or have other features. A line that cannot be read is left out: the
        service may be writing it.

    Raises:
        NotFoundError: the service has logged nothing that day.
    """
    path = folder / f"{check_night(day)}.jsonl"
    if not path.is_file():
        there = ", ".join(sorted(known.stem for known in folder.glob("????-??-??.jsonl"))[-5:]) or "none"
        raise NotFoundError(f"The service has logged no requests on {day} (latest days: {there}).")
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    left_out = 0
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            entry = _entry(line)
            for patch in entry.get("patches", []):
                if patch["px"] == patch_px and set(features) <= set(patch["features"]):
                    name = f"{REQUESTS}{entry['time'][:13]}"
                    rows[name].append(_row(name, number, entry, patch, features))
                else:
                    left_out += 1
    return {name: _frame(hour, features) for name, hour in sorted(rows.items())}, left_out


def _entry(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return entry


def _row(
    name: str, number: int, entry: dict[str, Any], patch: dict[str, Any], features: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "scene": name,
        "checksum": sha256(name.encode()).hexdigest(),
        "taken": "",  # when a picture was taken, its sender knows
        "ingested": entry["time"],
        "sensor": "",
        "gsd_m": float("nan"),
        "block": f"{number}_0",  # patches of one request belong together
        "row": patch["row"],
        "col": patch["col"],
        "nodata_fraction": 1.0 - float(entry["data_fraction"]),
        **{feature: patch["features"][feature] for feature in features},
    }


def _frame(rows: list[dict[str, Any]], features: tuple[str, ...]) -> pd.DataFrame:
    texts = dict.fromkeys(("scene", "checksum", "taken", "ingested", "sensor", "block"), "str")
    numbers = dict.fromkeys(features, "float32") | {"gsd_m": "float64", "row": "int64", "col": "int64"}
    return pd.DataFrame(rows).astype({**texts, **numbers})
