"""What was changed in a text, word by word.

Read this to see why a word of a prompt is marked.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

__all__ = ["Piece", "compared", "edited", "whole"]


class Piece(NamedTuple):
    """Some words of a text: in both versions (kept), only in the new one, or only in the old one (gone)."""

    text: str
    kind: Literal["kept", "new", "gone"] = "kept"


def compared(old: str, new: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts, each marked where the other differs; nothing is marked where one of them is empty."""
    if not old.strip() or not new.strip():
        return whole(old), whole(new)
    return [piece for piece, _ in _edits(old, new) if piece.text], [
        piece for _, piece in _edits(old, new) if piece.text
    ]


def edited(old: str, new: str) -> list[Piece]:
    """The new text with what it replaces: words that are gone stand before those in their place."""
    found = []
    for before, after in _edits(old, new):
        found += [before, after] if after.kind == "new" else [after]
    return [piece for piece in found if piece.text]


def whole(text: str) -> list[Piece]:
    """A text that is compared with nothing."""
    return [Piece(text)] if text else []


def _edits(old: str, new: str) -> Iterator[tuple[Piece, Piece]]:
    """What stands in the old text and what stands in its place in the new one, either of which may be nothing."""
    words, others = old.split(), new.split()
    matcher = SequenceMatcher(None, [*map(_plain, words)], [*map(_plain, others)], autojunk=False)
    for change, start, end, new_start, new_end in matcher.get_opcodes():
        before, after = " ".join(words[start:end]), " ".join(others[new_start:new_end])
        yield (Piece(before), Piece(after)) if change == "equal" else (Piece(before, "gone"), Piece(after, "new"))


def _plain(word: str) -> str:
    """A word as it is compared: a comma after it, a capital, and "an" for "a" are no change."""
    word = word.lower().rstrip(",.;")
    return "a" if word == "an" else word
