"""The judges that watched, beside the run's own: their means before and after, and whether a change may be chance.

Read this to see what the report says about a run that may fool its judge.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from selfportrait.report.charts import course_chart
from selfportrait.report.headline import verdict
from selfportrait.report.reading import RunRecord, round_name
from selfportrait.report.units import SCORE
from selfportrait.watched import EVENT

__all__ = ["Watch", "Watched", "watch"]


@dataclass(frozen=True)
class Watched:
    """One judge: its mean each time, its change since before training with the tone of that, and how many are missing.

    `means` have an interval each; what was not judged at all has None in it.
    """

    name: str
    is_trained: bool
    means: list[dict[str, Any]]
    change: dict[str, Any]
    tone: str
    chart: Markup | None

    @property
    def missing(self) -> list[int]:
        """How many pictures it could not judge each time."""
        return [one["missing"] for one in self.means]


@dataclass(frozen=True)
class Watch:
    """When they looked, the judges, the run's own first, and what was said of reward hacking."""

    times: list[str]
    rows: list[Watched]
    warnings: list[str]


def watch(run: RunRecord) -> Watch | None:
    """What they say; None where nobody watched, or nobody has looked twice yet."""
    found: dict[str, Any] = run.summary.get("watch") or {}
    if not found:
        return None
    names = sorted(found, key=lambda name: not found[name]["is_trained"])
    rows = [_watched(f"watch {place}", name, found[name]) for place, name in enumerate(names)]
    count = len(rows[0].means) - 1
    times = ["before", *(["after"] if count == 1 else map(round_name, range(count)))]
    return Watch(times, rows, _warnings(run))


def _watched(key: str, name: str, one: dict[str, Any]) -> Watched:
    means = [one["before"], *one["rounds"]]
    label = "the run\u2019s own judge" if one["is_trained"] else name
    cells = [{**cell, "accuracy": cell["mean"]} for cell in means]
    text = f"{label}: mean before and after {', '.join(SCORE.value(cell['mean']) for cell in means)}."
    is_known = any(cell["mean"] is not None for cell in means)
    chart = course_chart(key, cells, text, is_share=False) if is_known else None
    change = one["change"] or {}
    return Watched(label, one["is_trained"], means, change, verdict(change, has_after=bool(change))[1], chart)


def _warnings(run: RunRecord) -> list[str]:
    """The last round's events: what earlier ones said stands under Health."""
    lines = [row for row in run.rounds[-1].metrics if row.get("events")]
    return [event["message"] for row in lines for event in row["events"] if event.get("name") == EVENT]
