"""Windows that a model took for something: a list from an evaluation, whose ground is trained on more often.

The list is a CSV, JSON (array of objects, or an object with such an array as `windows`) or Parquet file with the
columns `scene`, `row`, `col` in pixels of the scene, and `size` where it is not patches.size_px. Other columns are
ignored.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.patches import PatchConfig
from satseg.errors import ConfigurationError
from satseg.patches.windows import Rects, no_rects
from satseg.progress import say
from satseg.storage.layout import Workspace

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("scene", "row", "col")
MOST_PX = 2**31  # more than any scene has along a side
READERS = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class HardNegatives:
    """Listed windows by scene, (N, 4) top, left, bottom, right in pixels; and a digest of them, '' for none."""

    rects: dict[str, Rects] = field(default_factory=dict)
    digest: str = ""

    def __len__(self) -> int:
        return sum(len(rects) for rects in self.rects.values())

    def hit(self, scene: str, windows: Rects) -> tuple[NDArray[np.bool_], int]:
        """Return which of a scene's windows (N, 4) are on listed ground, (N,), and how many listed ones were found.

        A window is when more than half of it lies in a listed one, or when no other overlaps a listed one more.
        """
        hit = np.zeros(len(windows), dtype=bool)
        found = 0
        for rect in self.rects.get(scene, no_rects()) if len(windows) else ():
            rows = np.minimum(windows[:, 2], rect[2]) - np.maximum(windows[:, 0], rect[0])
            cols = np.minimum(windows[:, 3], rect[3]) - np.maximum(windows[:, 1], rect[1])
            common = np.clip(rows, 0, None) * np.clip(cols, 0, None)
            areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
            inside = common * 2 > areas
            best = int(common.argmax())
            if common[best] > 0:
                found += 1
                hit |= inside
                hit[best] |= not inside.any()
        return hit, found


NO_HARD_NEGATIVES = HardNegatives()


def read_hard_negatives(config: PatchConfig, workspace: Workspace) -> HardNegatives:
    """Read the list the project names; none named is an empty one.

    Raises:
        ConfigurationError: the file is missing, of another kind, or lacks a column.
    """
    if config.hard_negatives is None:
        return NO_HARD_NEGATIVES
    path = workspace.root / config.hard_negatives
    table = _table(path)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ConfigurationError(
            f"patches.hard_negatives {path} has no column {', '.join(missing)} (it has {', '.join(map(str, table))}); "
            f"it needs {', '.join(NEEDED)} and may have size."
        )
    if table.empty:
        say(f"warning: patches.hard_negatives {path} lists no window")
        return NO_HARD_NEGATIVES
    if table["scene"].isna().any():
        raise ConfigurationError(f"patches.hard_negatives {path}, window {_first(table['scene'].isna())}: no scene.")
    rows, cols = (_whole(table[name], 0, path) for name in ("row", "col"))
    size = table["size"] if "size" in table else table["row"] * 0 + config.size_px
    sizes = _whole(size.fillna(config.size_px), 1, path)  # an empty one is a patch's
    rects = np.stack([rows, cols, rows + sizes, cols + sizes], axis=1)
    scenes = table["scene"].astype(str).to_numpy()
    by_scene = {str(scene): np.unique(rects[scenes == scene], axis=0) for scene in np.unique(scenes)}
    listed = json.dumps({scene: some.tolist() for scene, some in by_scene.items()}, sort_keys=True)
    return HardNegatives(by_scene, hashlib.sha256(listed.encode()).hexdigest())


def _whole(values: "pd.Series[Any]", least: int, path: Path) -> NDArray[np.int64]:
    """Return a column as whole pixels."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = ~((numbers >= least) & (numbers <= MOST_PX) & (numbers % 1 == 0))
    if wrong.any():
        place = _first(wrong)
        raise ConfigurationError(
            f"patches.hard_negatives {path}, window {place}: {values.name} is {values.iloc[place - 1]}. Row, col and "
            f"size must be whole numbers, row and col from 0, size from 1, all up to {MOST_PX}."
        )
    return numbers.to_numpy().astype(np.int64)


def _first(chosen: "pd.Series[bool]") -> int:
    """Return the number of the first chosen window, counted from 1."""
    return int(chosen.to_numpy().argmax()) + 1


def _table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in READERS:
        raise ConfigurationError(f"patches.hard_negatives {path}: give a file that ends with {', '.join(READERS)}.")
    try:
        if kind == ".csv":
            return pd.read_csv(path, dtype={"scene": str})
        if kind == ".parquet":
            return pd.read_parquet(path)
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        windows = content.get("windows") if isinstance(content, dict) else content
        if not isinstance(windows, list):
            raise ConfigurationError(
                f"patches.hard_negatives {path} must be a JSON array of windows, or an object with one as 'windows'."
            )
        return pd.DataFrame(windows, columns=None if windows else list(NEEDED))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"patches.hard_negatives {path} cannot be read ({error}). Correct the path."
        ) from error
