"""Champion and challenger on the same blocks: over all of them, and scene by scene, class by class, size by size.

Tables of counts are those of `evaluation.report.read_blocks`: one row for each block, class and size of object, with
columns scene, block, reference, class_id, size_bin, tp, fp, fn, tn; size_bin is "all" where sizes are not told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from satseg.config.operation import PromotionConfig, Slice
from satseg.evaluation.intervals import REPETITIONS, Pairs, Statistic, class_mean, iou, paired_difference, recall
from satseg.evaluation.report import ALL_SIZES
from satseg.evaluation.tally import BlockKey, touching
from satseg.registry.verdict import verdict
from satseg.stages import Gate, Interval

if TYPE_CHECKING:
    import pandas as pd

COUNTS = ["tp", "fp", "fn", "tn"]
BLOCK = ["scene", "block"]
KEY = [*BLOCK, "class_id", "size_bin"]


@dataclass(frozen=True)
class Comparison:
    """One score of two models on the same blocks.

    Attributes:
        kind: the whole, or the slice that it is one part of.
        part: name of the scene, class or size; "" for the whole.
        score: "IoU" or "recall".
        ours: the challenger's counts (blocks, classes, 4).
        theirs: the champion's.
        statistic: from summed counts to the score.
        neighbours: (pairs, 2) positions of blocks that touch.
    """

    kind: Literal["all"] | Slice
    part: str
    score: str
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]
    statistic: Statistic
    neighbours: Pairs

    @property
    def gate_name(self) -> str:
        """Name of the gate that rests on it."""
        return "not_worse_than_champion" if self.kind == "all" else f"not_worse_{self.kind}_{self.part}"

    def scores(self) -> tuple[float, float]:
        """Return the score of the challenger and of the champion; NaN where there is nothing to measure."""
        ours, theirs = (self.statistic(counts.sum(axis=0)[None])[0] for counts in (self.ours, self.theirs))
        return float(ours), float(theirs)

    def difference(self, repetitions: int = REPETITIONS) -> Interval:
        """Return challenger minus champion with its interval over blocks."""
        if np.array_equal(self.ours, self.theirs):
            known = self.scores()[0] == self.scores()[0]  # not NaN
            zero = 0.0 if known else None
            return Interval(value=zero, low=zero, high=zero, blocks=int(self.ours[..., :3].any(axis=(1, 2)).sum()))
        return paired_difference(
            self.ours, self.theirs, self.statistic, repetitions=repetitions, neighbours=self.neighbours
        )


def comparisons(
    ours: "pd.DataFrame", theirs: "pd.DataFrame", classes: Sequence[str], slices: Sequence[Slice]
) -> list[Comparison]:
    """Lay out what two models are compared in: first the whole, then every part of the slices asked for.

    The whole, classes and sizes are those of the reference blocks where there are any: later blocks are of scenes that
    only the challenger can have learnt from. A part that is the whole (the only scene, the only class) is left out.
    """
    pairs = _paired(ours, theirs)
    fixed = pairs[pairs["reference"]] if pairs["reference"].any() else pairs
    pixels, fixed_pixels = (table[table["size_bin"] == ALL_SIZES] for table in (pairs, fixed))
    ids = sorted(fixed_pixels["class_id"].unique())
    found = [_comparison("all", "", "IoU", fixed_pixels, ids)]
    scenes = sorted(pixels["scene"].unique())
    if "scene" in slices and len(scenes) > 1:
        found += [_comparison("scene", str(name), "IoU", pixels[pixels["scene"] == name], ids) for name in scenes]
    if "class" in slices and len(ids) > 1:
        found += [_comparison("class", classes[number - 1], "IoU", fixed_pixels, [number]) for number in ids]
    if "size" in slices:
        sizes = fixed[fixed["size_bin"] != ALL_SIZES]
        names = list(dict.fromkeys(sizes["size_bin"]))
        found += [_comparison("size", str(name), "recall", sizes[sizes["size_bin"] == name], ids) for name in names]
    return found


def compared(
    parts: Sequence[Comparison], champion_version: str, rules: PromotionConfig, repetitions: int = REPETITIONS
) -> list[Gate]:
    """Return a gate for each comparison in which there is something to measure."""
    measured = [(one, one.difference(repetitions)) for one in parts]
    measured = [(one, difference) for one, difference in measured if difference.value is not None]
    return [not_worse(one, difference, champion_version, rules, len(measured)) for one, difference in measured]


def not_worse(
    comparison: Comparison, difference: Interval, champion_version: str, rules: PromotionConfig, comparisons: int
) -> Gate:
    """The challenger is not worse than the champion by more than the margin.

    Without enough evidence an automatic decision goes by the measured difference over the whole, and lets slices be.
    """
    whole = comparison.kind == "all"
    margin, key = (rules.max_iou_loss, "max_iou_loss") if whole else (rules.max_slice_loss, "max_slice_loss")
    value = difference.value or 0.0
    found = verdict(difference, margin, rules.min_blocks, comparisons)
    undecided = found.outcome == "not enough evidence"
    by_value = value >= -margin - 1e-9
    return Gate(
        name=comparison.gate_name,
        passed=(by_value or not whole) if undecided else found.outcome == "passed",
        value=value,
        bound=-margin,
        evidence=_words(comparison, difference, champion_version, margin, key)
        + (_what_is_missing(difference, found.blocks_needed) if undecided else ""),
        undecided=undecided,
        low=difference.low,
        high=difference.high,
        blocks=difference.blocks,
        blocks_needed=found.blocks_needed,
    )


def _words(comparison: Comparison, difference: Interval, version: str, margin: float, key: str) -> str:
    ours, theirs = comparison.scores()
    where = "on the same blocks" if comparison.kind == "all" else f"in {comparison.kind} {comparison.part}"
    known = difference.low is not None and difference.high is not None
    interval = f" (95%: {difference.low:+.3f} to {difference.high:+.3f})" if known else ""
    return (
        f"{comparison.score} {ours:.3f} against {theirs:.3f} of champion v{version} {where} = {difference.value:+.3f}"
        f"{interval} over {difference.blocks} blocks, must be at least {-margin:+.3f} (promotion.{key})"
    )


def _what_is_missing(difference: Interval, needed: int) -> str:
    asked = f"about {needed}" if needed > difference.blocks else "more"
    return f"; not enough evidence: a verdict needs {asked if needed < 10**9 else 'a margin above 0 and more'} blocks"


def _paired(ours: "pd.DataFrame", theirs: "pd.DataFrame") -> "pd.DataFrame":
    """Join counts on the blocks both were measured on; what one of them did not count there is zero.

    Where a model was trained on part of a block's ground, the evaluation left that part out: such a block is not the
    same for both.
    """
    shared = _pixels(ours).merge(_pixels(theirs))
    pairs = ours.merge(theirs, on=[*KEY, "reference"], how="outer", suffixes=("", "_theirs"), validate="one_to_one")
    pairs = pairs.merge(shared[BLOCK])
    numbers = [*COUNTS, *(f"{name}_theirs" for name in COUNTS)]
    pairs[numbers] = pairs[numbers].fillna(0)
    return pairs


def _pixels(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the blocks with the number of pixels that were scored in each."""
    of_pixels = table[table["size_bin"] == ALL_SIZES]
    scored = of_pixels[BLOCK].assign(pixels=of_pixels[COUNTS].sum(axis=1).astype("int64"))
    return scored.drop_duplicates(BLOCK)


def _comparison(
    kind: Literal["all"] | Slice, part: str, score: str, table: "pd.DataFrame", ids: Sequence[int]
) -> Comparison:
    table = table[table["class_id"].isin(ids)]
    numbers = table.groupby(BLOCK, sort=True).ngroup().to_numpy().astype(np.intp)
    places = table[BLOCK].assign(number=numbers).drop_duplicates("number").sort_values("number")
    of_ours, of_theirs = (
        _counts(table, numbers, [f"{name}{suffix}" for name in COUNTS], ids) for suffix in ("", "_theirs")
    )
    statistic = class_mean(recall if score == "recall" else iou)
    keys = [BlockKey(str(scene), str(block), True) for scene, block in places[BLOCK].itertuples(index=False)]
    return Comparison(kind, part, score, of_ours, of_theirs, statistic, touching(keys))


def _counts(
    table: "pd.DataFrame", blocks: NDArray[np.intp], columns: list[str], ids: Sequence[int]
) -> NDArray[np.float64]:
    """Return (blocks, classes, 4) counts; a class that is not counted in a block has zeros there."""
    position = {number: index for index, number in enumerate(ids)}
    counts = np.zeros((int(blocks.max(initial=-1)) + 1, len(ids), len(columns)))
    class_of = table["class_id"].map(position).to_numpy()
    np.add.at(counts, (blocks, class_of), table[columns].to_numpy(np.float64))
    return counts
