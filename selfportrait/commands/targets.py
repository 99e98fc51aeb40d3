"""How many steps each compared line took to a target on the held-out prompts.

Read this to see what the target is. A step that was not measured is never named: between two measurements nothing is
known, so lines that were measured more often may look faster.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rich.table import Table

from selfportrait.commands.improve import accuracy_layout
from selfportrait.report.units import SCORE, Unit

__all__ = ["Curve", "Reached", "check", "reached", "table"]

Curve = Sequence[Mapping[str, Any]]
"""What summary.json has as `by_step`: a line a measured step, the first before training."""


class Reached(NamedTuple):
    """The steps at which a line was measured, and by seed the first with at least `gain` above step 0, if any."""

    gain: float
    measured: list[int]
    steps: list[int | None]


def check(target: float | None, *, is_measured: bool) -> None:
    """Refuse a target that is no gain, or that nothing can be compared with."""
    if target is None:
        return
    if not 0 < target < math.inf:
        raise ValueError(f"--target {target:g}: expected a gain over step 0 that is larger than 0, such as 2")
    if not is_measured:
        raise ValueError(
            f"--target {target:g}: nothing was measured between before and after; give a config or run with "
            "recipe.evaluate_every"
        )


def reached(line: Sequence[Curve], gain: float) -> Reached:
    """When each seed of a line came to a gain over its own step 0."""
    measured = sorted({point["step"] for curve in line for point in curve})
    return Reached(gain, measured, [_first(curve, gain) for curve in line])


def _first(curve: Curve, gain: float) -> int | None:
    start = curve[0]["accuracy"]
    return next((point["step"] for point in curve if _is_at(point["accuracy"] - start, gain)), None)


def _is_at(gained: float, gain: float) -> bool:
    return gained > gain - 1e-9  # a sum of binary fractions: 2 of 50 more is at 4 points


def table(lines: Mapping[str, Reached | None], unit: Unit, *, is_given: bool) -> Table:
    """A line a row: the first step at the target by seed, and where it was measured at all."""
    (gain, *_) = (one.gain for one in lines.values() if one is not None)
    what = "" if is_given else ", half of the best gain at the end"
    wanted = f"{unit.change(gain)}{'' if unit == SCORE else ' points'}"
    found = accuracy_layout(
        f"Steps to {wanted} over step 0 on held-out prompts{what}", "first step, by seed", "measured"
    )
    found.columns[0].header = ""
    for name, one in lines.items():
        found.add_row(name, *("–", "before and after") if one is None else (_said(one.steps), _when(one.measured)))
    return found


def _said(steps: Sequence[int | None]) -> str:
    return ", ".join("never" if step is None else f"{step:,}" for step in steps)


def _when(measured: Sequence[int]) -> str:
    """Every 20 to 100, where the steps are so far apart; the last may come sooner."""
    apart = {later - earlier for earlier, later in pairwise(measured[:-1])}
    return f"every {apart.pop():,} to {measured[-1]:,}" if len(apart) == 1 else ", ".join(map(str, measured))
