"""`selfportrait improve`: build what a config names, open the run folder, let the recipe run, show what came of it.

Read this to learn in which order things are checked: nothing is written before everything that can be wrong was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from selfportrait import console, processes, store
from selfportrait.config import Config
from selfportrait.report.form import duration, percent, points

__all__ = [
    "accuracy_cell",
    "accuracy_layout",
    "comparison",
    "opened",
    "pass_cell",
    "round_table",
    "run",
    "show_result",
]


def run(config: Config, folder: Path) -> None:
    """Start a run in a folder, or go on with the one in it."""
    built = config.build()
    with opened(config, folder) as run:
        console.say(_opening(run))
        config.recipe(run=run, **built)


@contextmanager
def opened(config: Config, folder: Path) -> Iterator[store.Run]:
    """Start a run, or go on with it, inside; a new folder of which nothing came is taken back.

    Of several processes the main one holds the lock and writes the settings.
    """
    is_new = not folder.exists()
    try:
        with processes.main_first(lambda: _open(config, folder)) as run:
            yield run
    except (ValueError, OSError):
        if is_new and processes.is_main():
            _remove_if_empty(folder)
        raise


def _open(config: Config, folder: Path) -> store.Run:
    return store.Run.open(folder, config.resolved()) if processes.is_main() else store.Run.read(folder)


def _opening(run: store.Run) -> str:
    if run.path("summary.json").exists():
        return f"{run.folder} is finished; what is missing of it is made again"
    if run.path("round-0").exists():
        return f"going on with {run.folder} where it stopped"
    together = f" in {processes.count()} processes" if processes.count() > 1 else ""
    return f"starting {run.folder}{together}; Ctrl-C stops it, the same command goes on"


def _remove_if_empty(folder: Path) -> None:
    """Take back a run folder in which nothing but its settings was written, as where the weights cannot be read."""
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else {"nothing to take back"}
    if files <= {"config.json", ".lock"}:
        for name in files:
            (folder / name).unlink()
        folder.rmdir()


def show_result(folder: Path) -> None:
    """Print the finished run's accuracies before and after, and where its report and model are."""
    summary = store.read_json(folder / "summary.json")
    console.show(comparison(summary))
    if len(summary.get("rounds", [])) > 1:
        console.show(round_table(summary))
    seconds = summary.get("time_s", {})
    if seconds:
        console.echo("time    " + ", ".join(f"{name} {duration(value)}" for name, value in seconds.items()))
    for event in summary.get("health", [])[:5]:
        console.echo(f"health  {_event(event) if isinstance(event, dict) else event}")
    console.echo(f"report  {folder / 'report.html'}")
    console.echo(f"model   {folder / 'model'}")


def _event(event: dict[str, Any]) -> Any:
    """The message of an event, with its round where it names one."""
    where = f"round {event['round']}: " if "round" in event else ""
    return f"{where}{event['message']}" if "message" in event else event


def comparison(summary: dict[str, Any]) -> Table:
    """Lay out a run's summary.json: a category a row, overall last; narrow enough for 80 columns."""
    before, after, changes = summary["before"], summary["after"], summary.get("change", {})
    title = f"Exactly right of {after['overall']['n']} held-out pictures, with 95 % intervals"
    table = accuracy_layout(title, "before, %", "after, %", "change, points", "pass@4, %")
    for name in sorted(after, key=lambda name: (name == "overall", name)):
        table.add_row(
            name,
            accuracy_cell(before[name]),
            accuracy_cell(after[name]),
            _change_cell(before[name], after[name], changes.get(name, {})),
            f"{pass_cell(before[name])} → {pass_cell(after[name])}",
            style="bold" if name == "overall" else "",
        )
    return table


def round_table(summary: dict[str, Any]) -> Table:
    """Lay out the rounds of a run: one a row, over all categories, each compared with the one before it."""
    table = accuracy_layout("Round by round, all categories", "exactly right, %", "change, points", "pass@4, %")
    table.columns[0].header = "after"
    measured = [summary["before"], *summary["rounds"]]
    table.add_row("no training", accuracy_cell(measured[0]["overall"]), "", pass_cell(measured[0]["overall"]))
    for index, (before, after) in enumerate(pairwise(one["overall"] for one in measured)):
        change = summary["round_changes"][index]["overall"]
        table.add_row(f"round {index}", accuracy_cell(after), _change_cell(before, after, change), pass_cell(after))
    return table


def accuracy_layout(title: str, *columns: str) -> Table:
    """An empty table with a category a row and numbers in its columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("category")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def accuracy_cell(row: dict[str, Any]) -> str:
    """An accuracy with its interval, in percent: 41.2 (37.9–44.6)."""
    return f"{row['accuracy'] * 100:.1f} ({row['low'] * 100:.1f}–{row['high'] * 100:.1f})"


def pass_cell(row: dict[str, Any]) -> str:
    """pass@4 in percent, a dash where no prompt has four judged pictures."""
    return percent(row["pass_at_4"]).removesuffix("\N{NO-BREAK SPACE}%")


def _change_cell(before: dict[str, Any], after: dict[str, Any], change: dict[str, Any]) -> str:
    if not change:
        return points(after["accuracy"] - before["accuracy"])
    colour = "green" if change["low"] > 0 else "red" if change["high"] < 0 else "default"
    text = f"{points(change['difference'])} ({points(change['low'])} to {points(change['high'])})"
    return f"[{colour}]{text}[/]"
