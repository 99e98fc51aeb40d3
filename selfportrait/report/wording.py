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
    pieces = edited(old, new)
    return [piece for piece in pieces if piece.kind != "new"], [piece for piece in pieces if piece.kind != "gone"]


def edited(old: str, new: str) -> list[Piece]:
    """The new text with what it replaces: words that are gone stand before those in their place."""
    return [piece for piece in _edits(old.split(), new.split()) if piece.text]


def whole(text: str) -> list[Piece]:
    """A text that is compared with nothing."""
    return [Piece(text)] if text else []


def _edits(old: list[str], new: list[str]) -> Iterator[Piece]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for change, start, end, new_start, new_end in matcher.get_opcodes():
        if change == "equal":
            yield Piece(" ".join(old[start:end]))
        else:
            yield Piece(" ".join(old[start:end]), "gone")
            yield Piece(" ".join(new[new_start:new_end]), "new")
