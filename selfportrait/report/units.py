"""In which unit a benchmark's numbers are read: shares of right pictures in percent, or scores as a judge gives them.

Read this to see what a benchmark that knows no right and wrong is called, on the page and in the terminal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfportrait.report.form import finite, number, percent, points, signed

__all__ = ["SCORE", "SHARE", "Unit", "judged_by", "score", "score_change", "unit_of"]

_PERCENT = "\N{NO-BREAK SPACE}%"


@dataclass(frozen=True)
class Unit:
    """How a category's number is called and written, and its changes."""

    is_score: bool

    @property
    def name(self) -> str:
        """What the number is."""
        return "mean score" if self.is_score else "accuracy"

    @property
    def of_change(self) -> str:
        """What a change is counted in, after a comma; nothing where that is the score itself."""
        return "" if self.is_score else ", points"

    @property
    def of_value(self) -> str:
        """The same of the number, for the head of a column whose cells are bare."""
        return "" if self.is_score else ", %"

    def value(self, value: Any) -> str:
        """41.2 %, or 0.2841 and 21.43."""
        return score(value) if self.is_score else percent(value)

    def bare(self, value: Any) -> str:
        """The same without its unit, for a column that has it in its head."""
        return self.value(value).removesuffix(_PERCENT)

    def change(self, value: Any) -> str:
        """+9.2 points without the word, or +0.0123."""
        return score_change(value) if self.is_score else points(value)


SHARE, SCORE = Unit(is_score=False), Unit(is_score=True)


def unit_of(*several: Mapping[str, Any]) -> Unit:
    """The unit of a category's summaries, before and after; of more than one category that of all together."""
    return SCORE if any(one.get("is_score") for one in several) else SHARE


def judged_by(settings: Mapping[str, Any]) -> str:
    """Whose scores a run's benchmark gives, for people: its judge where it names one, else the benchmark itself."""
    benchmark = settings.get("benchmark") or {}
    judge = benchmark.get("judge")
    name = judge.get("name") if isinstance(judge, Mapping) else judge
    return str(name or benchmark.get("name") or "its benchmark")


def score(value: Any) -> str:
    """Four digits that say something: 0.4123, 21.95."""
    return number(finite(value), _digits(value))


def score_change(value: Any) -> str:
    """The same of a difference, with its sign."""
    return signed(value, _digits(value))


def _digits(value: Any) -> int:
    return 2 if abs(finite(value) or 0.0) >= 10 else 4
