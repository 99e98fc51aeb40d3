"""Asking for detail: one answer that expands a prompt and its perturbed version into two sentences of the same scene.

Read this for the worked examples and for what makes an answer unreadable. The wording is ours; the steps are those of
OSPO (https://arxiv.org/abs/2506.02015) and its code.
"""

import re
from typing import NamedTuple

from selfportrait.asking.base import Style, Turn, Unreadable, check_spoken, few_shot, texts
from selfportrait.asking.captions import kind

__all__ = ["Dense", "Shot", "answer", "conversation", "read"]

SYSTEM = (
    "Expand two short captions into one full, concrete sentence each. Bring in no new objects, numbers or relations. "
    "Both sentences happen in the same place with the same background, light and style, and differ only in which words "
    "belong to which object."
)
_REQUEST = (
    "First: {base}\nSecond: {perturbed}\n"
    "Expand both into one detailed sentence each. Same place, light and style in both; only the listed bindings may "
    "differ."
)
_FIRST = re.compile(r"^2\. First, detailed:[ \t]*(.*)$", re.MULTILINE)
_SECOND = re.compile(r"^4\. Second, detailed:[ \t]*(.*)$", re.MULTILINE)
_LEAK = re.compile(r"\b(?:First|Second)(?:, detailed)?:|\bbindings of (?:First|Second)\b|\d\. (?:First|Second)\b")


class Dense(NamedTuple):
    """The detailed versions of a prompt and of its perturbed version."""

    base: str
    perturbed: str


class Shot(NamedTuple):
    """One worked example: both captions, the bindings of both, and both detailed sentences."""

    base: str
    perturbed: str
    base_bindings: str
    perturbed_bindings: str
    dense_base: str
    dense_perturbed: str


_SHOTS = {name: tuple(Shot(**shot) for shot in shots) for name, shots in texts("densify").items()}


def conversation(base: str, perturbed: str, category: str, style: Style) -> list[Turn]:
    """Ask for both detailed sentences at once, after three worked examples of the category's kind."""
    shots = [(_request(shot.base, shot.perturbed, style), answer(shot, style)) for shot in _SHOTS[kind(category)]]
    return few_shot(SYSTEM, shots, _request(base, perturbed, style), style)


def _request(base: str, perturbed: str, style: Style) -> str:
    if style == "compact":
        return f"First: {base}\nSecond: {perturbed}\nExpand both."
    return _REQUEST.format(base=base, perturbed=perturbed)


def answer(shot: Shot, style: Style) -> str:
    """A worked example as the model should write it; in the compact style without the bindings."""
    first, second = f"2. First, detailed: {shot.dense_base}", f"4. Second, detailed: {shot.dense_perturbed}"
    if style == "compact":
        return f"{first}\n{second}"
    bindings = f"1. bindings of First: {shot.base_bindings}", f"3. bindings of Second: {shot.perturbed_bindings}"
    return "\n".join((bindings[0], first, bindings[1], second))


def read(text: str) -> Dense:
    """Read lines 2 and 4; raises Unreadable where one is missing, empty, written twice or holds another label."""
    first, second = _FIRST.findall(text), _SECOND.findall(text)
    if not first or not second:
        raise Unreadable("no first sentence" if not first else "no second sentence")
    if len(first) > 1 or len(second) > 1 or any(_LEAK.search(sentence) for sentence in (*first, *second)):
        raise Unreadable("leaked label")
    dense = Dense(first[0].strip(), second[0].strip())
    if not all(dense):
        raise Unreadable("empty sentence")
    for sentence in dense:
        check_spoken(sentence)
    if dense.base.lower() == dense.perturbed.lower():
        raise Unreadable("both the same")
    return dense
