"""What a claim of the micro world settles: which checks hold in every picture of it, in none, or in some.

Read this to see what "conflicting", "faithful" and "covered" mean exactly. A picture of a claim is one that
`scenes.lay_out` could draw: it has what is named and nothing else, shapes without a named size are medium, an unnamed
background is black, and positions and colours that are left open are random.
"""

import re

from selfportrait.micro.language import NUMBERS, PLACES, RELATIONS, Check, Claim, Phrase, checks, parse
from selfportrait.micro.world import BACKGROUNDS, CELL, Scene
from selfportrait.types import Detection

__all__ = ["entails", "excludes", "read_question", "settles", "truth"]

_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_NUMBER = "|".join(NUMBERS)
_QUESTIONS = {
    "present": re.compile(r"^is there an? (?P<subject>.+)\?$"),
    "count": re.compile(rf"^(?:is|are) there exactly (?P<number>{_NUMBER}) (?P<subject>.+)\?$"),
    "relation": re.compile(rf"^(?:is|are) the (?P<subject>.+?) (?P<value>{'|'.join(RELATIONS)}) the (?P<other>.+)\?$"),
    "place": re.compile(rf"^(?:is|are) the (?P<subject>.+) (?:at|in) the (?P<value>{'|'.join(PLACES)})\?$"),
    "background": re.compile(rf"^is the background (?P<value>{'|'.join(BACKGROUNDS)})\?$"),
}


def entails(claim: Claim, other: Claim) -> bool:
    """Whether every picture of a claim is a faithful picture of the other."""
    return all(settles(claim, check) is True for check in checks(other))


def excludes(claim: Claim, other: Claim) -> bool:
    """Whether no picture of a claim is a faithful picture of the other."""
    return any(settles(claim, check) is False for check in checks(other))


def settles(claim: Claim, check: Check) -> bool | None:
    """Whether a check holds in every picture of a claim (True) or in none (False); None where it depends."""
    if check.kind == "word" or claim.word is not None:
        return check.kind == "word" and check.value == claim.word
    if check.kind == "background":
        return check.value == (claim.background or "black")
    if check.kind == "total":
        return check.value == sum(phrase.count for phrase in claim.phrases)
    assert check.subject is not None
    least, most = _bounds(claim, check.subject)
    if check.kind == "present":
        return True if least else None if most else False
    if check.kind == "count":
        assert isinstance(check.value, int)
        return (True if least == most else None) if least <= check.value <= most else False
    if most == 0:
        return False
    return _settles_relation(claim, check) if check.kind == "relation" else _settles_place(claim, check)


def _bounds(claim: Claim, kind: Phrase) -> tuple[int, int]:
    """The least and the greatest number of shapes of a kind."""
    matches = [(_is_of_kind(phrase, kind), phrase.count) for phrase in claim.phrases]
    return sum(n for match, n in matches if match), sum(n for match, n in matches if match is not False)


def _is_of_kind(phrase: Phrase, kind: Phrase) -> bool | None:
    """Whether the shapes of a phrase are of a kind; None where an open colour decides."""
    if phrase.shape != kind.shape or (kind.size is not None and phrase.size != kind.size):
        return False
    if kind.colour is None or phrase.colour == kind.colour:
        return True
    return None if phrase.colour is None else False


def _only(claim: Claim, kind: Phrase) -> int | None:
    """The index of the one phrase whose shapes, and no others, are of a kind; None where it is not one phrase alone."""
    matches = [_is_of_kind(phrase, kind) for phrase in claim.phrases]
    return matches.index(True) if matches.count(True) == 1 and None not in matches else None


def _settles_relation(claim: Claim, check: Check) -> bool | None:
    assert check.subject is not None
    assert check.other is not None
    if _bounds(claim, check.other)[1] == 0:
        return False
    matches = [[_is_of_kind(phrase, kind) for phrase in claim.phrases] for kind in (check.subject, check.other)]
    if matches[0] == matches[1] and None not in matches[0]:
        return False  # nothing is left of itself
    order = (_only(claim, check.subject), _only(claim, check.other))
    if claim.relation is None or order not in ((0, 1), (1, 0)):
        return None
    return check.value == (claim.relation if order == (0, 1) else _OPPOSITE[claim.relation])


def _settles_place(claim: Claim, check: Check) -> bool | None:
    """The place of a claim is that of the last shape of its last phrase, and a check asks for all shapes of a kind."""
    assert check.subject is not None
    last = claim.phrases[-1]
    if claim.place is None or not _is_of_kind(last, check.subject):
        return None
    if check.value != claim.place:
        return None if "center" in (check.value, claim.place) else False  # the middle cells lie in the corners too
    return True if last.count == 1 and _only(claim, check.subject) == len(claim.phrases) - 1 else None


def truth(scene: Scene) -> list[Detection]:
    """What a perfect detector would find in a scene."""
    half = CELL // 2
    return [
        Detection(
            f"{item.colour} {item.shape}",
            1.0,
            (item.x - half, item.y - half, item.x + half, item.y + half),
            attributes={"colour": item.colour, "shape": item.shape, "size": item.size},
        )
        for item in scene.items
    ]


def read_question(text: str) -> Check | None:
    """Read a question of the micro language back into its check; None for any other text."""
    plain = " ".join(text.lower().split())
    for kind, pattern in _QUESTIONS.items():
        match = pattern.match(plain)
        if match:
            return _check(kind, text, match.groupdict())
    return None


def _check(kind: str, text: str, parts: dict[str, str]) -> Check | None:
    if kind == "count" and parts["subject"] in ("shape", "shapes"):
        return Check("total", text, value=NUMBERS.index(parts["number"]) + 1)
    try:
        subject = _kind(parts["subject"]) if "subject" in parts else None
        other = _kind(parts["other"]) if "other" in parts else None
    except ValueError:
        return None
    value: str | int = 1 if kind == "present" else parts.get("value", "")
    return Check(kind, text, subject, other, NUMBERS.index(parts["number"]) + 1 if kind == "count" else value)


def _kind(words: str) -> Phrase:
    """The kind that some words name; raises ValueError for words that name none."""
    claim = parse(f"a {words}")
    if len(claim.phrases) != 1 or claim.place or claim.background:
        raise ValueError(f"{words!r} is more than one kind of shape")
    return claim.phrases[0]
