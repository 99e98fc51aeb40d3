"""Asking for a perturbed prompt: one that no longer describes the same picture, by one edit, and nothing else.

Read this for the table of edits by category and the worked examples that the model is shown. The wording is ours; the
steps are those of OSPO (https://arxiv.org/abs/2506.02015) and its code.
"""

import re
from typing import Literal, NamedTuple

from selfportrait.asking.base import Style, Turn, Unreadable, check_spoken, few_shot, one_line, texts
from selfportrait.asking.captions import kind
from selfportrait.types import Prompt

__all__ = ["DIRECTIONS", "Edit", "Shot", "answer", "conversation", "edits", "read"]

Edit = Literal["replace", "swap", "drop"]
DIRECTIONS = ("under", "next to", "in front of", "behind", "to the left of", "to the right of")
RESULT = "Result:"
_ALL_REPLACE: tuple[Edit, ...] = ("replace", "replace", "replace")
_ALL_THREE: tuple[Edit, ...] = ("replace", "swap", "drop")
_EDITS: dict[str, tuple[Edit, ...]] = {
    "attribute1_color": _ALL_REPLACE,
    "attribute1_shape": _ALL_REPLACE,
    "attribute1_texture": _ALL_REPLACE,
    "layout2": _ALL_REPLACE,
    "non-spatial": ("replace", "drop", "replace"),
    "attribute2": _ALL_THREE,
    "layout1": _ALL_THREE,
    "layout3": _ALL_THREE,
    "complex": _ALL_THREE,
}
_OBJECT = re.compile(r"\b(?:an?|one|two|three|four|five|six|seven|eight)\b(?! \w+ background\b)", re.IGNORECASE)

SYSTEM = (
    "Change one caption into a conflicting caption. Steps: 1 objects, 2 bindings, 3 the edit you were asked for, 4 the "
    "new caption. The new caption must no longer describe the same picture; re-ordering words is not an edit."
)


class Shot(NamedTuple):
    """One worked example: bindings before and after, and both captions."""

    edit: Edit
    text: str
    objects: str
    bindings: str
    changed: str
    result: str


_SHOTS = {name: tuple(Shot(**shot) for shot in shots) for name, shots in texts("perturb").items()}


def edits(prompt: Prompt) -> tuple[Edit, ...]:
    """The edit of each slot: OSPO's table by sub-category.

    A category outside the table has all three edits where its prompt names two objects, and nothing to swap or drop
    where it names one; a background is no object.
    """
    if prompt.category in _EDITS:
        return _EDITS[prompt.category]
    return _ALL_THREE if len(_OBJECT.findall(prompt.text)) > 1 else _ALL_REPLACE


def _shots_of(category: str, edit: Edit) -> tuple[Shot, ...]:
    found = kind(category)
    return _SHOTS[f"{found} {'drop' if edit == 'drop' else 'replace'}" if found == "non-spatial" else found]


def conversation(prompt: Prompt, edit: Edit, style: Style, direction: str = DIRECTIONS[0]) -> list[Turn]:
    """Ask for one edit of a prompt, after three worked examples.

    The example of a replaced relation uses `direction`, which the model is told not to use itself: a model that is
    shown one fixed direction copies it into every answer.
    """
    request = _request(prompt.text, edit, style)
    if kind(prompt.category) == "spatial" and edit == "replace" and style == "full":
        request += f'\nDo not use the words "{direction}".'
    shots = [
        (_request(shot.text, shot.edit, style), answer(shot, style).replace("{direction}", direction))
        for shot in _shots_of(prompt.category, edit)
    ]
    return few_shot(SYSTEM, shots, request, style)


def _request(text: str, edit: Edit, style: Style) -> str:
    return f"{text}\nEdit: <{edit}>" + ("\nThink in steps." if style == "full" else "")


def answer(shot: Shot, style: Style) -> str:
    """A worked example as the model should write it; in the compact style the result without the steps to it."""
    if style == "compact":
        return f"{RESULT} {shot.result}"
    return f"1. {shot.objects}\n2. {shot.bindings}\n3. <{shot.edit}> {shot.changed}\n4. {RESULT} {shot.result}"


def read(text: str, base: str) -> str:
    """Read the first line after the last "Result:"; raises Unreadable with the reason for which it is dropped."""
    _, marker, rest = text.rpartition(RESULT)
    if not marker:
        raise Unreadable("no result")
    result = one_line(check_spoken(rest).strip().partition("\n")[0]).strip('"“” ')
    if not result:
        raise Unreadable("empty result")
    if _plain(result) == _plain(base):
        raise Unreadable("unchanged")
    if sorted(_listed(result)) == sorted(_listed(base)):
        raise Unreadable("re-ordered")
    return result


def _plain(text: str) -> str:
    return one_line(text).lower().rstrip(".")


def _listed(text: str) -> list[str]:
    """What a caption lists: the same list in another order is the same picture."""
    return re.split(r", and | and |, ", _plain(text))
