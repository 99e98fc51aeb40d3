"""What a vision-language model is asked for a score, and what its answer is worth: yes or no, or a grade.

Read this to see the wordings, which tokens say yes, and how a grade is read out of a reply.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from selfportrait.asking.pictures import FAILED, UNPARSABLE, Request

__all__ = [
    "GRADE",
    "NEITHER",
    "QUESTION",
    "SURFACES",
    "WHOLE",
    "Grade",
    "Weighs",
    "YesNo",
    "grade",
    "of_text",
    "of_tokens",
]

QUESTION = "{question} Please answer 'yes' or 'no' without explanation."
WHOLE = 'Does this image show "{prompt}"? Answer the question with Yes or No.'  # of VQAScore
GRADE = (
    'How well does this image show "{prompt}"? Grade it from 1 (nothing of it) to 5 (all of it, and well drawn). '
    'Answer with JSON only: {{"score": 1-5, "reason": "one sentence"}}'
)
SURFACES = {"yes": ("yes", "Yes", " yes", " Yes"), "no": ("no", "No", " no", " No")}
NEITHER = f"{UNPARSABLE}: neither yes nor no is among the likeliest tokens"
_GRADE = re.compile(r'"?score"?\s*[:=]\s*"?([1-5])(?:\.0+)?(?![\d.])', re.IGNORECASE)
_SPACES = " \t\n\u2581\u0120\u010a"  # what tokenizers write for a space or a line's end


class YesNo(NamedTuple):
    """The probabilities of yes and of no; None, with the reason, where there is no answer."""

    p_yes: float | None
    p_no: float | None
    reason: str | None = None

    @property
    def ratio(self) -> float | None:
        """p(yes) / (p(yes) + p(no)), in [0, 1]."""
        return None if self.p_yes is None or self.p_no is None else self.p_yes / (self.p_yes + self.p_no)

    @classmethod
    def of(cls, p_yes: float, p_no: float) -> "YesNo":
        """Two probabilities, checked: both finite, not negative, and not both 0."""
        if not (
            math.isfinite(p_yes) and math.isfinite(p_no) and min(p_yes, p_no) >= 0 and max(p_yes, p_no) <= 1 + 1e-3
        ):
            return cls(None, None, f"{UNPARSABLE}: p(yes) = {p_yes}, p(no) = {p_no} are no probabilities")
        return cls(p_yes, p_no) if p_yes + p_no > 0 else cls(None, None, NEITHER)


class Weighs(Protocol):
    """A vision-language model that gives probabilities and not only words."""

    def yes_no(self, requests: Sequence[Request]) -> list[YesNo]:
        """How likely its answer begins with yes and with no, one a request, in order."""
        ...


class Grade(NamedTuple):
    """A grade from 1 to 5 with what the model says of it; None, with the reason, where none could be read."""

    value: int | None
    said: str = ""
    reason: str | None = None


def of_tokens(likeliest: Iterable[tuple[str, float]]) -> YesNo:
    """Add up the probabilities of the first tokens that say yes or no, out of each token's log-probability."""
    sums = dict.fromkeys(SURFACES, 0.0)
    for token, logp in likeliest:
        word = token.strip(_SPACES).lower()
        if word in sums:
            sums[word] += math.exp(min(logp, 0.0))
    return YesNo.of(min(sums["yes"], 1.0), min(sums["no"], 1.0))


def of_text(text: str) -> YesNo:
    """1 or 0 out of the first word of a reply; any other reply is unparsable."""
    first = re.match(r"[\W_]*(yes|no)\b", text, re.IGNORECASE)
    if first is None:
        return YesNo(None, None, f"{UNPARSABLE}: {text[:80]!r} is neither yes nor no")
    is_yes = first[1].lower() == "yes"
    return YesNo(float(is_yes), float(not is_yes))


def grade(text: str | None, reason: str | None = None) -> Grade:
    """Read {"score": 1-5, "reason": ...} out of a reply, by a pattern where it is no JSON; never a guess."""
    if text is None:
        return Grade(None, "", reason or FAILED)
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        given = json.loads(found[0]) if found else None
    except ValueError:
        given = None
    if isinstance(given, dict) and "score" in given:
        value = _whole(given["score"])
        return Grade(value, str(given.get("reason", "")), None if value else f"{UNPARSABLE}: {text[:80]!r}")
    grades = {int(match) for match in _GRADE.findall(text)}
    if len(grades) != 1:
        return Grade(None, "", f"{UNPARSABLE}: {text[:80]!r}")
    return Grade(grades.pop())


def _whole(value: object) -> int | None:
    """A grade from 1 to 5, also written "4" or 4.0; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[1-5](?:\.0+)?\s*", value):
        value = float(value)
    is_grade = isinstance(value, int | float) and not isinstance(value, bool) and value in range(1, 6)
    return int(value) if is_grade else None  # type: ignore[call-overload]
