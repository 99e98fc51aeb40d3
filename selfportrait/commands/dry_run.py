"""`selfportrait improve --dry-run`: what a config would build, do and take, without weights and without a file.

Read this to see what is shown; the numbers are made in `selfportrait/planning` and in each model's `sizes`.
"""

import json
from collections.abc import Sequence

from rich.table import Table

from selfportrait import console
from selfportrait.config import Config, Section
from selfportrait.models.base import Sizes
from selfportrait.planning import base, memory

__all__ = ["show"]

GIB = 2**30


def show(config: Config, name: str) -> None:
    """Build the components as a run would, and print the components, the model's sizes, the plan and the memory."""
    built = config.build()
    recipe = config.sections["recipe"]
    plan = base.plan(recipe.resolved["name"], built, recipe.settings)
    sizes = built["model"].sizes()
    console.echo(f"{name}: a dry run, no weights are loaded and nothing is written")
    _show(components_table(config))
    _show(model_table(config.sections["model"], sizes))
    _show(plan_table(plan))
    if sizes is not None:
        found = memory.needs(sizes, plan, built["optimizer"].name)
        _show(memory_table(found))
        console.echo(verdict(memory.peak(found), *memory.available(built["model"].device)))


def _show(table: Table) -> None:
    console.echo("")
    console.show(table)


def components_table(config: Config) -> Table:
    """A section a row: its component and the settings that are not the default."""
    table = _table("Components, with the settings that are not their default")
    table.add_column("section", no_wrap=True)
    table.add_column("component", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for key, section in config.sections.items():
        table.add_row(key, section.resolved.get("name", ""), ", ".join(_said(section)))
    for label, section in config.watch.items():
        table.add_row(f"watch.{label}", section.resolved["name"], ", ".join(_said(section)))
    table.add_row("seed", "", str(config.seed))
    return table


def _said(section: Section) -> list[str]:
    return [f"{setting}={json.dumps(value, ensure_ascii=False)}" for setting, value in section.changed.items()]


def model_table(section: Section, sizes: Sizes | None) -> Table:
    """A part of the model a row, with its parameters."""
    table = _table(f"Model {section.component.__name__}, {section.resolved.get('path')}")
    table.add_column("part", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    if sizes is None:
        table.add_row("sizes", "unknown", "its config.json is neither here nor in the hub's cache: download it first")
        return table
    total = sum(sizes.parts.values())
    for part, count in sizes.parts.items():
        table.add_row(part, f"{count:,}", f"{count / total:.1%}")
    table.add_row("in all", f"{total:,}", f"by {sizes.source}", style="bold")
    table.add_row("learns", f"{sizes.num_trained:,}", sizes.what_learns)
    return table


def plan_table(plan: base.Plan) -> Table:
    """A count a row, of one round."""
    of_rounds = f", each of {plan.num_rounds} rounds" if plan.num_rounds > 1 else ""
    table = _table(f"Plan{of_rounds}")
    for column in ("stage", "what"):
        table.add_column(column, no_wrap=True)
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    last = ""
    for count in plan.counts:
        number = "unknown" if count.number is None else f"{count.qualifier} {count.number:,}".strip()
        table.add_row("" if count.stage == last else count.stage, count.what, number, count.note)
        last = count.stage
    return table


def memory_table(found: Sequence[memory.Need]) -> Table:
    """An item a row, and what is needed at most at once."""
    table = _table("Memory")
    for column in ("for", "when"):
        table.add_column(column, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for need in found:
        table.add_row(need.what, need.phase or "always", said(need.bytes), need.formula)
    together = "always, and the larger of drawing and training"
    table.add_row("at once", "", said(memory.peak(found)), together, style="bold")
    return table


def verdict(needed: int, has: int, what: str) -> str:
    """Whether it fits, in one line."""
    fits = "fits into" if needed <= has else "does not fit into"
    return f"about {said(needed)} {fits} the {said(has)} of {what}; libraries take some more"


def said(bytes_: int) -> str:
    """1,610,612,736 -> "1.5 GiB"."""
    return f"{bytes_ / GIB:.1f} GiB" if bytes_ >= GIB else f"{bytes_ / 2**20:.1f} MiB"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
