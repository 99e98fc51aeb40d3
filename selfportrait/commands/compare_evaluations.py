"""`selfportrait compare` for two or more evaluations: each against the first, by benchmark and category.

Read this to see what is refused: prompts that are not the same, and verdicts of different judges.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from selfportrait import measures
from selfportrait.benchmarks.base import OVERALL
from selfportrait.commands.evaluate import digits, value_cell
from selfportrait.commands.improve import accuracy_layout
from selfportrait.evaluations import Evaluation, differences, evaluations

__all__ = ["Contrast", "are_evaluations", "as_json", "compare", "tables"]


class Contrast(NamedTuple):
    """One benchmark measured twice, and by category how much it rose."""

    benchmark: str
    first: str
    second: str
    before: measures.Measured
    after: measures.Measured
    change: Mapping[str, measures.PairedDifference]


def are_evaluations(items: Sequence[str]) -> bool:
    """Whether these are folders of `selfportrait evaluate`; raises ValueError where some are and others are not."""
    found = [Path(item).is_dir() and bool(evaluations(Path(item))) for item in items]
    if any(found) and not all(found):
        other = items[found.index(False)]
        raise ValueError(f"{other} is no evaluation, as the others are: compare evaluations with each other only")
    return all(found)


def compare(items: Sequence[str]) -> list[Contrast]:
    """Compare each evaluation with the first, over the benchmarks that both have.

    Raises ValueError where there is nothing to compare, or verdicts of different judges or on different prompts.
    """
    if len(items) < 2 or len(set(items)) != len(items):
        raise ValueError(f"{', '.join(items)}: give two evaluations or more, each once")
    first, *others = [evaluations(Path(item)) for item in items]
    found = [
        _contrast(items[0], item, first[name], other[name])
        for item, other in zip(items[1:], others, strict=True)
        for name in first
        if name in other
    ]
    if not found:
        raise ValueError(f"{', '.join(items)} have no benchmark in common: the first has {', '.join(first)}")
    return found


def _contrast(first: str, second: str, before: Evaluation, after: Evaluation) -> Contrast:
    measured = before.measured, after.measured
    one, other = (_protocols(side) for side in measured)
    odd = next((name for name in one if one[name] != other.get(name, one[name])), None)
    if odd is not None:
        raise ValueError(
            f"{before.benchmark}, {odd}: {one[odd]} judged {first}, and {other[odd]} judged {second}; have both judged "
            "by the same, with selfportrait evaluate --images"
        )
    return Contrast(before.benchmark, first, second, *measured, differences(before, after))


def _protocols(found: measures.Measured) -> dict[str, str]:
    return {name: one["protocol"] for name, one in found["categories"].items()}


def tables(contrasts: Sequence[Contrast]) -> list[Table]:
    """One table a benchmark and pair: a category a row, the overall number last."""
    return [_table(one) for one in contrasts]


def _table(one: Contrast) -> Table:
    scale = one.after["scale"]
    title = f"{one.benchmark}: {one.second} against {one.first}, {one.after['metric']}"
    table = accuracy_layout(title, "first", "second", "difference", "wins, %", "prompts")
    table.add_column("protocol")
    for name, change in one.change.items():
        before, after = (_measure(side, name) for side in (one.before, one.after))
        colour = "green" if change.low > 0 else "red" if change.high < 0 else "default"
        span = f"{digits(change.low * scale)} to {digits(change.high * scale)}"
        table.add_row(
            name,
            value_cell(before, scale),
            value_cell(after, scale),
            f"[{colour}]{digits(change.difference * scale)} ({span})[/]",
            f"{change.win_rate * 100:.1f}",
            str(change.prompts),
            after["protocol"],
            style="bold" if name == OVERALL else "",
        )
    return table


def _measure(found: measures.Measured, name: str) -> measures.Measure:
    overall = found["overall"] if name == OVERALL else None
    return found["categories"][name] if overall is None else overall


def as_json(contrasts: Sequence[Contrast]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {**one._asdict(), "change": {name: change._asdict() for name, change in one.change.items()}}
        for one in contrasts
    ]
