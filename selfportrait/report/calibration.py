"""Whether the self-judge looks at the picture at all, as measured before each round's training.

Read this to see how the numbers of calibration.json are worded; what they are stands in asking/calibration.py.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from selfportrait.report.form import finite, number, percent
from selfportrait.report.reading import RunRecord, read_object

__all__ = ["Calibrations", "Measure", "Warned", "calibrations"]

YES = "Questions answered yes about"
ASKED = (
    ("yes_own", f"{YES} the prompt’s own picture", "as many as the pictures deserve", False),
    ("yes_blank", f"{YES} a blank picture", "should be few", False),
    ("yes_shuffled", f"{YES} the picture with its pixels shuffled", "should be few", False),
    ("yes_wrong", f"{YES} another prompt’s picture", "should be few", False),
    ("prefers_own", "A picture’s own questions score higher than another prompt’s", "chance is 50 %", True),
    ("ranks_exact", "A picture that the exact judge passes scores higher than one it fails", "chance is 50 %", True),
    ("answers_exact", "Questions answered as the exact judge does, yes and no counted alike", "chance is 50 %", True),
)


class Measure(NamedTuple):
    """One number of the calibration in words, a value a round (None: not measured)."""

    text: str
    reading: str
    values: list[float | None]
    has_chance: bool


class Warned(NamedTuple):
    """A round whose self-judge should not be believed, and why."""

    name: str
    text: str


@dataclass(frozen=True)
class Calibrations:
    """The calibrations of the rounds that have one."""

    rounds: list[str]
    sentence: str
    measures: list[Measure]
    warnings: list[Warned]
    missing: list[str]


def calibrations(run: RunRecord) -> Calibrations | None:
    """The calibration of every round; None where there is none."""
    read = [(one.name, read_object(one.folder / "calibration.json")) for one in run.rounds]
    found = [(name, one) for name, one in read if one]
    if not found:
        return None
    maps = [one for _, one in found]
    asked = [
        Measure(text, reading, [finite(one.get(key)) for one in maps], has_chance)
        for key, text, reading, has_chance in ASKED
    ]
    measures = [measure for measure in asked if any(value is not None for value in measure.values)]
    missing = [f"{name}: {number(one['num_missing'])}" for name, one in found if one.get("num_missing")]
    warnings = [Warned(name, str(one["warning"])) for name, one in found if one.get("warning")]
    return Calibrations([name for name, _ in found], _sentence(*found[-1]), measures, warnings, missing)


def _sentence(name: str, one: dict[str, Any]) -> str:
    """The last calibration in one sentence."""
    return (
        f"Before training in {name} it was asked about {number(one.get('num_pictures'))} pictures. It said yes to "
        f"{percent(one.get('yes_own'))} of the questions about a prompt’s own picture, to "
        f"{percent(one.get('yes_blank'))} about a blank one and to {percent(one.get('yes_wrong'))} about another "
        f"prompt’s. A picture’s own questions scored higher than another prompt’s for "
        f"{percent(one.get('prefers_own'))} of the pictures, where a guess would reach 50 %."
    )
