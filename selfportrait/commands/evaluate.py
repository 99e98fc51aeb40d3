"""`selfportrait evaluate`: measure a model with a benchmark, in a folder that remembers what was measured.

Read this to see what `--run` keeps.
"""

from pathlib import Path
from typing import Any

from rich.table import Table

from selfportrait import stages, store
from selfportrait.commands.improve import accuracy_cell, accuracy_layout, pass_cell
from selfportrait.commands.loading import Source
from selfportrait.config import Section

__all__ = ["accuracy_table", "evaluate"]


def evaluate(source: Source, section: Section, folder: Path) -> dict[str, Any]:
    """Return accuracies by category; `folder` goes on where it was stopped, with the same model and benchmark only."""
    built = section.build()
    model = source.load()
    benchmark = stages.hand_over(built, policy=model)
    settings = {"model": source.identity, "benchmark": section.resolved}
    with store.Run.open(folder, {"settings": settings}) as run:
        result: dict[str, Any] = dict(stages.evaluate(model, benchmark, run.path("evaluation")))
        store.write_json(run.path("evaluation.json"), result)
    return result


def accuracy_table(result: dict[str, Any]) -> Table:
    """Lay out accuracies: a category a row."""
    table = accuracy_layout("Pictures that are exactly right", "accuracy, %", "pass@4, %", "pictures", "missing")
    for name in sorted(result, key=lambda name: (name == "overall", name)):
        row = result[name]
        cells = (accuracy_cell(row), pass_cell(row), str(row["n"]), str(row.get("missing", 0)))
        table.add_row(name, *cells, style="bold" if name == "overall" else "")
    return table
