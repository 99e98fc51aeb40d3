"""Asking for a new caption: the twelve streams of OSPO's first step, their examples, and how an answer is read.

Read this to see what a model is told when it writes its own prompts, and for which reasons a caption is dropped. The
wording is ours; the steps are those of OSPO (https://arxiv.org/abs/2506.02015) and its code.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from selfportrait.asking.base import Style, Turn, Unreadable, check_spoken, few_shot, one_line, texts

__all__ = ["FAMILIES", "STREAMS", "Caption", "Stream", "conversation", "family", "item_id", "kind", "read"]

FAMILIES = ("attribute", "layout", "non-spatial", "complex")
_NUMBER = re.compile(r"\b(?:one|two|three|four)\b", re.IGNORECASE)
_TOO_LARGE = re.compile(
    r"\b(?:five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion)s?\b|\d",
    re.IGNORECASE,
)
_KINDS = {  # by sub-category, and by the categories of T2I-CompBench, which the micro world uses too
    "attribute1_color": "attribute",
    "attribute1_shape": "attribute",
    "attribute1_texture": "attribute",
    "attribute2": "attribute",
    "color": "attribute",
    "shape": "attribute",
    "texture": "attribute",
    "layout1": "spatial",
    "spatial": "spatial",
    "3d_spatial": "spatial",
    "layout2": "numeracy",
    "layout3": "numeracy",
    "numeracy": "numeracy",
    "non-spatial": "non-spatial",
}
_BANNED_CHARACTERS = re.compile(r"[\n/()-]")
_BANNED_WORDS = re.compile(r"\b(?:colou?r|shape|texture|spatial|numeracy)s?\b", re.IGNORECASE)


class Caption(NamedTuple):
    """A caption with what it is made of, as an answer spells it."""

    text: str
    units: str
    tuples: str

    def answer(self) -> str:
        """The three fields as one answer."""
        return f"Caption: {self.text};Units: {self.units};Tuples: {self.tuples}"


class Stream(NamedTuple):
    """One kind of caption: `category` is OSPO's sub-category, `brief` and `rule` are what the model is told."""

    name: str
    category: str
    brief: str
    rule: str
    shots: tuple[Caption, ...]

    @property
    def is_template_like(self) -> bool:
        """Whether its captions are short phrases of one form, which are checked for signs of anything else."""
        return self.category not in ("non-spatial", "complex")

    @property
    def num_refreshed(self) -> int:
        """How many shots are drawn when they are refreshed."""
        return 5 if self.category == "complex" else 3


def _stream(name: str, told: dict[str, Any]) -> Stream:
    shots = tuple(Caption(**shot) for shot in told["shots"])
    return Stream(name, told["category"], told["brief"], told["rule"], shots)


STREAMS = {name: _stream(name, told) for name, told in texts("captions").items()}


def kind(category: str) -> str:
    """Which worked examples a category takes: attribute, spatial, numeracy, non-spatial or, for any other, complex."""
    return _KINDS.get(category, "complex")


def family(category: str) -> str:
    """The one of the four categories that a category belongs to."""
    found = kind(category)
    return "layout" if found in ("spatial", "numeracy") else found


def item_id(category: str, index: int) -> str:
    """An id as OSPO's records have it: one digit for the category and six for the index in it."""
    return f"{FAMILIES.index(family(category))}{index:06d}"


def conversation(stream: Stream, shots: Sequence[Caption], style: Style) -> list[Turn]:
    """The same request before every shot, as in a chat that has gone on for a while.

    In the compact style the request names the kind of caption, because there is nothing else to tell it by.
    """
    system = f"You write short, natural captions for an image generator. Each caption {stream.rule}."
    request = "Write one new caption. Use words that have not appeared yet."
    if style == "compact":
        request = f"Write one new caption: {stream.brief}."
    return few_shot(system, [(request, shot.answer()) for shot in shots], request, style)


def read(text: str, stream: Stream) -> Caption:
    """Read an answer of three fields; raises Unreadable with the reason for which it is dropped.

    A full stop at the end of a template-like caption is taken off, so that it is not another caption than the one
    without. Numbers are checked in both numeracy streams: at least one, and none above four.
    """
    parts = check_spoken(text).strip().split(";")
    if len(parts) != 3:
        raise Unreadable("not three parts")
    caption, units, tuples = (part.rpartition(":")[2].strip() for part in parts)
    if not caption.strip(". "):
        raise Unreadable("empty caption")
    if not stream.is_template_like:
        return Caption(one_line(caption), one_line(units), one_line(tuples))
    if _BANNED_CHARACTERS.search(caption):
        raise Unreadable("banned character")
    if _BANNED_WORDS.search(caption):
        raise Unreadable("banned word")
    if stream.category in ("layout2", "layout3") and not _is_well_counted(caption):
        raise Unreadable("number")
    return Caption(caption.rstrip(". "), one_line(units), one_line(tuples))


def _is_well_counted(caption: str) -> bool:
    return _NUMBER.search(caption) is not None and not _TOO_LARGE.search(caption)
