"""`selfportrait improve`: build what a config names, open the run folder, let the recipe run, show what came of it.

Read this to learn in which order things are checked: nothing is written before everything that can be wrong was.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from selfportrait import console, processes, store
from selfportrait.config import Config
from selfportrait.report.form import duration, percent
from selfportrait.report.units import SCORE, SHARE, Unit, judged_by, unit_of

__all__ = [
    "accuracy_cell",
    "accuracy_layout",
    "change_cell",
    "change_text",
    "comparison",
    "measured_title",
    "opened",
    "pass_cell",
    "round_table",
    "run",
    "show_result",
    "step_table",
    "watch_table",
]

MOST_ALARMS = 5
WATCH_COLUMNS = ("before", "after", "change", "missing")


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
    config = store.read_json(folder / "config.json")
    console.show(comparison(summary, judged_by(config.get("settings", {}))))
    if len(summary.get("rounds", [])) > 1:
        console.show(round_table(summary))
    if summary.get("by_step"):
        console.show(step_table(summary["by_step"]))
    if summary.get("watch"):
        console.show(watch_table(summary["watch"]))
    seconds = summary.get("time_s", {})
    if seconds:
        console.echo("time    " + ", ".join(f"{name} {duration(value)}" for name, value in seconds.items()))
    for line in _alarms(summary.get("health", [])):
        console.echo(f"health  {line}")
    console.echo(f"report  {folder / 'report.html'}")
    console.echo(f"model   {folder / 'model'}")


def _alarms(events: Sequence[Any]) -> list[str]:
    """The first alarms of a run, those of a name and round in one line."""
    lines: dict[tuple[Any, Any], list[str]] = {}
    for event in events:
        where = f"round {event['round']}: " if "round" in event else ""
        if "message" in event:
            lines[where, event["message"]] = [f"{where}{event['message']}"]
            continue
        limits = f"{event['value']:.3g}, threshold {event['threshold']:.3g}"
        lines.setdefault((where, event["name"]), []).append(f"{where}{event['name']} at step {event['step']}: {limits}")
    return [_first(several) for several in lines.values()][:MOST_ALARMS]


def _first(several: Sequence[str]) -> str:
    again = len(several) - 1
    return several[0] + (f", and {again} more time{'s' * (again > 1)}" if again else "")


def comparison(summary: dict[str, Any], scored_by: str = "its benchmark") -> Table:
    """Lay out a run's summary.json: a category a row, overall last; narrow enough for 80 columns.

    `scored_by` is who gave the scores, where nobody told right from wrong.
    """
    before, after, changes = summary["before"], summary["after"], summary.get("change", {})
    unit, has_passes = unit_of(*after.values()), _has_passes(before, after)
    title = f"{measured_title(unit, after['overall']['n'], scored_by)}, with 95 % intervals"
    columns = (f"before{unit.of_value}", f"after{unit.of_value}", f"change{unit.of_change}")
    table = accuracy_layout(title, *columns, *(["pass@4, %"] if has_passes else []))
    for name in sorted(after, key=lambda name: (name == "overall", name)):
        table.add_row(
            name,
            accuracy_cell(before[name], unit),
            accuracy_cell(after[name], unit),
            _change_cell(before[name], after[name], changes.get(name, {}), unit),
            *([f"{pass_cell(before[name])} → {pass_cell(after[name])}"] if has_passes else []),
            style="bold" if name == "overall" else "",
        )
    return table


def measured_title(unit: Unit, num_pictures: int, scored_by: str) -> str:
    """What a run's numbers are, for the head of a table."""
    if unit.is_score:
        return f"Mean score by {scored_by} of {num_pictures} held-out pictures"
    return f"Exactly right of {num_pictures} held-out pictures"


def _measured_column(unit: Unit) -> str:
    """The same for the head of a column."""
    return unit.name if unit.is_score else f"exactly right{unit.of_value}"


def _has_passes(*maps: dict[str, Any]) -> bool:
    return any(row["pass_at_4"] is not None for one in maps for row in one.values())


def round_table(summary: dict[str, Any]) -> Table:
    """Lay out the rounds of a run: one a row, over all categories, each compared with the one before it."""
    measured = [one["overall"] for one in (summary["before"], *summary["rounds"])]
    unit, has_passes = unit_of(*measured), any(one["pass_at_4"] is not None for one in measured)
    passes = ["pass@4, %"] if has_passes else []
    table = accuracy_layout(
        "Round by round, all categories", _measured_column(unit), f"change{unit.of_change}", *passes
    )
    table.columns[0].header = "after"
    steps = zip(pairwise(measured), summary["round_changes"], strict=True)
    changes = ["", *(_change_cell(before, after, row["overall"], unit) for (before, after), row in steps)]
    for index, (one, change) in enumerate(zip(measured, changes, strict=True)):
        name = f"round {index - 1}" if index else "no training"
        table.add_row(name, accuracy_cell(one, unit), change, *([pass_cell(one)] if has_passes else []))
    return table


def step_table(curve: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out what was measured during training: a step a row, with those before and after it, over all categories."""
    unit = unit_of(*curve)
    table = accuracy_layout("Step by step, all categories, with 95 % intervals", _measured_column(unit))
    table.columns[0].header = "after steps"
    for point in curve:
        table.add_row(f"{point['step']:,}", accuracy_cell(point, unit))
    return table


def watch_table(watch: Mapping[str, Any]) -> Table:
    """Lay out what the judges that watch say: one a row, with the run's own judge first, each in its own unit."""
    table = accuracy_layout("Judges that watched, on the same pictures, with 95 % intervals", *WATCH_COLUMNS)
    table.columns[0].header = "judge"
    for name in sorted(watch, key=lambda name: not watch[name]["is_trained"]):
        one = watch[name]
        missing = " → ".join(str(one[when]["missing"]) for when in ("before", "after"))
        change = "–" if one["change"] is None else change_cell(one["change"], SCORE)
        label = "the run's own" if one["is_trained"] else name
        table.add_row(label, SCORE.value(one["before"]["mean"]), SCORE.value(one["after"]["mean"]), change, missing)
    return table


def accuracy_layout(title: str, *columns: str) -> Table:
    """An empty table with a category a row and numbers in its columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("category")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def accuracy_cell(row: Mapping[str, Any], unit: Unit = SHARE) -> str:
    """An accuracy with its interval, in percent: 41.2 (37.9–44.6); or a mean score."""
    return f"{unit.bare(row['accuracy'])} ({unit.bare(row['low'])}–{unit.bare(row['high'])})"


def pass_cell(row: dict[str, Any]) -> str:
    """pass@4 in percent, a dash where no prompt has four judged pictures."""
    return percent(row["pass_at_4"]).removesuffix("\N{NO-BREAK SPACE}%")


def _change_cell(before: dict[str, Any], after: dict[str, Any], change: dict[str, Any], unit: Unit) -> str:
    return change_cell(change, unit) if change else unit.change(after["accuracy"] - before["accuracy"])


def change_cell(change: Mapping[str, Any], unit: Unit) -> str:
    """A difference with its interval, green or red where that lies on one side of zero."""
    colour = "green" if change["low"] > 0 else "red" if change["high"] < 0 else "default"
    return f"[{colour}]{change_text(change, unit)}[/]"


def change_text(change: Mapping[str, Any], unit: Unit) -> str:
    """A difference with its interval: +3.5 (+1.6 to +5.3)."""
    return f"{unit.change(change['difference'])} ({unit.change(change['low'])} to {unit.change(change['high'])})"
