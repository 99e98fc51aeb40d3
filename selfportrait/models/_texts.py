"""Encoded prompts that a model keeps, and how many of them: each distinct text is encoded once while there is room.

Read this to see what is forgotten first.
"""

from collections.abc import Callable, Sequence

from selfportrait.models.base import EncodedText

__all__ = ["KeptTexts"]

GIB = 2**30


class KeptTexts:
    """Rows of encoded prompts by their text, `most` bytes of them; those that were asked for longest ago go first.

    They wait in the machine's memory, whatever device they came from.
    """

    def __init__(self, most: int = GIB) -> None:
        self.most = most
        self.bytes = 0
        self._rows: dict[str, EncodedText] = {}  # the last asked for at the end

    def rows(self, prompts: Sequence[str], encode: Callable[[str], EncodedText]) -> list[EncodedText]:
        """The rows of prompts, by `encode` for those that are not kept; room is made only once all are there."""
        found = {text: self._take(text) or _waiting(encode(text)) for text in dict.fromkeys(prompts)}
        self._rows |= found
        self.bytes += sum(_size(row) for row in found.values())
        self._make_room()
        return [found[text] for text in prompts]

    def _take(self, text: str) -> EncodedText | None:
        row = self._rows.pop(text, None)
        self.bytes -= 0 if row is None else _size(row)
        return row

    def _make_room(self) -> None:
        while self.bytes > self.most:
            self._take(next(iter(self._rows)))


def _waiting(row: EncodedText) -> EncodedText:
    return EncodedText(*(part.cpu() for part in row))


def _size(row: EncodedText) -> int:
    return sum(part.nbytes for part in row)
