"""`selfportrait pairs agreement`: how often a judge prefers the picture that people preferred.

Read this to see what a tie is worth, what a missing score does, and how HPD v2's number differs from a plain accuracy.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from selfportrait import progress, stages
from selfportrait.benchmarks.base import interval, resampled_ratio
from selfportrait.preferences.base import Dropped, PreferenceSource
from selfportrait.stages.scores import Judge
from selfportrait.types import Picture, PreferencePair, Prompt, Score

__all__ = ["agreement", "credit", "table"]

ROWS_AT_ONCE = 256  # whose encoded pictures are held
PICTURES_AT_ONCE = 64  # decoded and judged together
RESAMPLES = 2000
_log = logging.getLogger(__name__)

Key = tuple[str, str]  # a prompt, and what its picture is called


class Compared(NamedTuple):
    """Two pictures of a prompt that people compared; they preferred the first one, unless it is a tie."""

    prompt: str
    first: Picture
    second: Picture
    is_tie: bool


@dataclass
class Tally:
    """What came of one prompt: credit for its pairs, and how many of all pairs of a ranking are not inverted."""

    credit: float = 0.0
    pairs: int = 0
    in_order: int = 0
    ranked: int = 0


def agreement(source: PreferenceSource, judge: Judge, *, tie: float | None = None) -> dict[str, Any]:
    """Judge the pictures of every pair, each once a prompt, and compare; returns numbers, and what was left out.

    "pairs" is the mean of `credit` over pairs; ties of people count in it only where `tie` is given. "rankings" is the
    mean over prompts of 1 - inversions / (all their pairs), as HPS v2 measures on its test set: a tie of either side is
    no inversion. Both have a 95 % interval over prompts. A pair with a picture that could not be judged is left out,
    counted, and named in the log. Raises ValueError where no pair was judged.
    """
    scores, tallies = _Scores(judge), defaultdict[str, Tally](Tally)
    dropped, missing = Counter[str](), 0
    with progress.bar("judging pairs", total=source.num_rows) as advance:
        for rows in _batches(source.rows()):
            compared = [one for one in map(_compared, rows) if one is not None]
            dropped.update(row.reason for row in rows if isinstance(row, Dropped) and row.tie is None)
            scores.add((one.prompt, picture) for one in compared for picture in (one.first, one.second))
            for one in compared:
                values = scores.value(one.prompt, one.first), scores.value(one.prompt, one.second)
                missing += not _count(tallies[one.prompt], one.is_tie, *values, tie)
            advance(len(rows))
    judged = {prompt: tally for prompt, tally in tallies.items() if tally.ranked}
    if not any(tally.pairs for tally in judged.values()):
        raise ValueError(f"{source.path}: no pair was judged ({missing} missing, {sum(dropped.values())} dropped)")
    shares = [(tally.in_order / tally.ranked, 1) for tally in judged.values()]
    return {
        "pairs": _bounded([(tally.credit, tally.pairs) for tally in judged.values() if tally.pairs]),
        "rankings": _bounded(shares),
        "missing": missing,
        "dropped": dict(sorted(dropped.items())),
    }


def credit(first: float, second: float, *, is_tie: bool, tie: float) -> float:
    """What two scores are worth where people preferred the first, or called it a tie.

    Equation: the judge calls it a tie where |p - q| <= tie, with p, q = softmax(first, second); 1 where both sides say
    the same, 1/2 where exactly one says tie, else 0.
    Source: the evaluation of Pick-a-Pic (https://arxiv.org/abs/2305.01569), where `tie` is chosen on validation pairs.
    """
    says_tie = abs(math.tanh((first - second) / 2)) <= tie  # p - q of a softmax over two
    if says_tie or is_tie:
        return 1.0 if says_tie and is_tie else 0.5
    return float(first > second)


def _count(tally: Tally, is_tie: bool, first: float | None, second: float | None, tie: float | None) -> bool:
    """Add one pair; whether it could be judged."""
    if first is None or second is None:
        return False
    tally.ranked += 1
    tally.in_order += is_tie or first >= second
    if not is_tie or tie is not None:
        tally.pairs += 1
        tally.credit += credit(first, second, is_tie=is_tie, tie=tie or 0.0)
    return True


def _compared(row: PreferencePair | Dropped) -> Compared | None:
    """What people compared; None for a row that says nothing of it."""
    if isinstance(row, PreferencePair):
        return Compared(row.prompt, row.chosen, row.rejected, False)
    return None if row.tie is None else Compared(*row.tie, True)


class _Scores:
    """The scores of pictures, each judged once for a prompt; only numbers stay in memory."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._values: dict[Key, float | None] = {}

    def value(self, prompt: str, picture: Picture) -> float | None:
        """The score of a picture, None where it is missing."""
        return self._values[prompt, _name(picture)]

    def add(self, wanted: Iterable[tuple[str, Picture]]) -> None:
        """Judge those that have no score yet."""
        new = {key: one for prompt, one in wanted if (key := (prompt, _name(one))) not in self._values}
        items = list(new.items())
        for start in range(0, len(items), PICTURES_AT_ONCE):
            self._add(items[start : start + PICTURES_AT_ONCE])

    def _add(self, some: Sequence[tuple[Key, Picture]]) -> None:
        shown = []
        for key, picture in some:
            try:
                shown.append((key, picture, picture.read()))
            except (ValueError, OSError) as error:
                self._keep(key, picture, Score(None, str(error)))
        prompts = [Prompt(id=text, text=text) for (text, _), _, _ in shown]
        scores = stages.score(self._judge, prompts, [image for _, _, image in shown]) if shown else []
        for (key, picture, _), score in zip(shown, scores, strict=True):
            self._keep(key, picture, score)

    def _keep(self, key: Key, picture: Picture, score: Score) -> None:
        self._values[key] = score.value
        if score.value is None:
            _log.warning("%s, %s: no score: %s", picture.where, _name(picture), score.reason)


def _name(picture: Picture) -> str:
    """What tells a picture from others: its file, or its uid or hash; no file is read for it."""
    return str(picture.source) if isinstance(picture.source, Path) else picture.key


def _batches(rows: Iterator[PreferencePair | Dropped]) -> Iterator[list[PreferencePair | Dropped]]:
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        yield batch


def _bounded(prompts: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """The ratio of sums over prompts, its interval by resampling them, and over how much it is."""
    totals, counts = (np.array(side, dtype=np.float64) for side in zip(*prompts, strict=True))  # (N,)
    low, high = interval(resampled_ratio(totals, counts, (0,), RESAMPLES))
    value = float(totals.sum() / counts.sum())
    return {"value": value, "low": low, "high": high, "n": int(counts.sum()), "prompts": len(prompts)}


def table(found: dict[str, Any]) -> Table:
    """Lay out how often a judge agrees: a way of counting a row."""
    laid_out = Table(box=box.SIMPLE_HEAD)
    for name in ("agreement", "%", "over", "prompts"):
        laid_out.add_column(name, justify="left" if name == "agreement" else "right")
    for name, over in (("pairs", "pairs"), ("rankings", "prompts")):
        one = found[name]
        numbers = f"{one['value'] * 100:.1f} ({one['low'] * 100:.1f}–{one['high'] * 100:.1f})"
        laid_out.add_row(name, numbers, f"{one['n']} {over}", str(one["prompts"]))
    laid_out.caption = ", ".join(
        [
            f"{found['missing']} pairs missing",
            *(f"{count} dropped: {reason}" for reason, count in found["dropped"].items()),
        ]
    )
    return laid_out
