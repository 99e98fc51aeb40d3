"""How the templates of the report are filled in: every value is escaped, and numbers are written in one way.

Read this to add a filter.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from selfportrait.report import form, units

__all__ = ["environment"]


def environment() -> Environment:
    """Templates escape every value; only the charts, which are our own SVG, arrive as markup."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": form.percent,
        "points": form.points,
        "number": form.number,
        "signed": form.signed,
        "score_change": units.score_change,
        "duration": form.duration,
        "memory": form.memory,
        "plain": form.plain,
        "width": form.width,
    }
    return environment
