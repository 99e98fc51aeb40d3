"""What each round changed: accuracy before and after every one, and whether a change may be chance.

Read this to see what the report says about a run in several rounds.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from selfportrait.report.charts import course_chart
from selfportrait.report.form import finite, percent, plain
from selfportrait.report.headline import verdict
from selfportrait.report.reading import RunRecord, accuracies, accuracies_by_round, round_name
from selfportrait.report.units import Unit, unit_of

__all__ = ["Course", "Courses", "Point", "courses"]


@dataclass(frozen=True)
class Point:
    """A category at one time: its accuracy, what changed since the time before, and the tone of that."""

    accuracy: dict[str, Any]
    change: dict[str, Any]
    tone: str


@dataclass(frozen=True)
class Course:
    """One category from before the first round to after the last that was measured."""

    name: str
    is_trained: bool
    points: list[Point]
    chart: Markup
    unit: Unit
    has_passes: bool


@dataclass(frozen=True)
class Courses:
    """When it was measured, and the categories, "overall" first."""

    times: list[str]
    rows: list[Course]
    unit: Unit

    @property
    def has_passes(self) -> bool:
        """Whether pass@4 was measured anywhere."""
        return any(row.has_passes for row in self.rows)

    @property
    def by_name(self) -> dict[str, Course]:
        """The rows by category."""
        return {row.name: row for row in self.rows}


def courses(run: RunRecord) -> Courses | None:
    """Every category over the rounds; None for a run that does not go in several or measured none yet."""
    maps = [accuracies(run, "before"), *accuracies_by_round(run)]
    if not run.plans_rounds or len(maps) == 1:
        return None
    changes = [{}, *(run.summary.get("round_changes") or [])]
    changes += [{}] * (len(maps) - len(changes))
    trained = run.trained_category
    names = sorted(dict.fromkeys(name for one in maps for name in one), key=lambda name: name != "overall")
    rows = []
    for place, name in enumerate(names):
        cells = [one.get(name, {}) for one in maps]
        several = [one.get(name, {}) for one in changes[: len(maps)]]
        points = [
            Point(cell, change, verdict(change, has_after=bool(cell))[1])
            for cell, change in zip(cells, several, strict=True)
        ]
        unit, has_passes = unit_of(*cells), any(finite(cell.get("pass_at_4")) is not None for cell in cells)
        text = _in_words(name, cells, unit, has_passes=has_passes)
        chart = course_chart(f"course {place}", cells, text, is_share=not unit.is_score)
        rows.append(Course(name, name == trained and name != "overall", points, chart, unit, has_passes))
    times = ["before", *(round_name(index) for index in range(len(maps) - 1))]
    return Courses(times, rows, unit_of(*(cell for one in maps for cell in one.values())))


def _in_words(name: str, cells: list[dict[str, Any]], unit: Unit, *, has_passes: bool) -> str:
    values = ", ".join(unit.value(cell.get("accuracy")) for cell in cells)
    passed = ", ".join(percent(cell.get("pass_at_4")) for cell in cells)
    end = f"; pass@4 {passed}" if has_passes else ""
    return f"{plain(name)}: {unit.name} before and after each round {values}{end}."
