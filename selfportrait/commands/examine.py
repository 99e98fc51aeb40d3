"""`selfportrait micro examine`: how well a unified model sees, answers and writes, by exact checks.

Read this to see what the card of the embedded token model says about it.
"""

from typing import Any

from rich.table import Table

from selfportrait.asking.base import require
from selfportrait.micro import examination

__all__ = ["examine", "table"]


def examine(model: Any, *, count: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Examine a loaded model; raises ValueError for one that does not see or write."""
    require(model, "answer")
    require(model, "write")
    parts = {
        "reconstructs": examination.reconstruction(model, count=count, seed=seed),
        "answers": examination.answering(model, count=count, seed=seed),
        "writes": examination.writing(model, count=count, seed=seed + 1),  # of another seed than it was taught with
    }
    return {
        part: {name: {"share": right.share, "asked": right.asked} for name, right in results.items()}
        for part, results in parts.items()
    }


def table(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """One line a result: what was asked for, the share of right ones, and how many there were."""
    shown = Table(title="Right by the exact judge", title_justify="left", box=None, pad_edge=False)
    shown.add_column("it")
    shown.add_column("")
    shown.add_column("right, %", justify="right")
    shown.add_column("of", justify="right")
    for part, results in found.items():
        for name, result in results.items():
            shown.add_row(part, name, f"{100 * result['share']:.1f}", str(result["asked"]))
    return shown
