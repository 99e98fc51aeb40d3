"""What each round changed: accuracy before and after every one, and whether a change may be chance.

Read this to see what the report says about a run in several rounds.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from selfportrait.report.charts import course_chart
from selfportrait.report.form import percent, plain
from selfportrait.report.headline import verdict
from selfportrait.report.reading import RunRecord, accuracies, accuracies_by_round, round_name

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


@dataclass(frozen=True)
class Courses:
    """When it was measured, and the categories, "overall" first."""

    times: list[str]
    rows: list[Course]

    @property
    def by_name(self) -> dict[str, Course]:
        """The rows by category."""
        return {row.name: row for row in self.rows}


def courses(run: RunRecord) -> Courses | None:
    """Every category over the rounds; None for a run that does not go in rounds or measured none yet."""
    maps = [accuracies(run, "before"), *accuracies_by_round(run)]
    if not run.is_in_rounds or len(maps) == 1:
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
        chart = course_chart(f"course {place}", cells, _in_words(name, cells))
        rows.append(Course(name, name == trained and name != "overall", points, chart))
    return Courses(["before", *(round_name(index) for index in range(len(maps) - 1))], rows)


def _in_words(name: str, cells: list[dict[str, Any]]) -> str:
    accuracy = ", ".join(percent(cell.get("accuracy")) for cell in cells)
    passed = ", ".join(percent(cell.get("pass_at_4")) for cell in cells)
    return f"{plain(name)}: accuracy before and after each round {accuracy}; pass@4 {passed}."
