"""The items of a JSON list that is too long to hold: read one by one, with the number of each.

Read this to see what is refused while such a file is read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

__all__ = ["items"]

_CHUNK = 2**20  # characters read at a time
_LONGEST = 2**24  # characters of one item; more is a quote or a bracket that never ends


def items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield each item with its number, from 1: objects, or whatever texts stand in their place; raises ValueError."""
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from _items(_Text(path, file))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error


def _items(text: "_Text") -> Iterator[tuple[int, Any]]:
    if text.take() != "[":
        raise ValueError(f"{text.path} does not hold a JSON list: expected one of records")
    number, mark = 0, "," if text.peek() != "]" else text.take()
    while mark == ",":
        number += 1
        yield number, text.item(number)
        mark = text.take()
    if mark != "]":
        raise ValueError(f"{text.path}, item {number} is followed by {mark!r}, expected a comma or the end of the list")
    if text.peek():
        raise ValueError(f"{text.path} goes on after its list, with {text.peek()!r}: expected one JSON list")


class _Text:
    """A file's text from where reading is, as much of it as the next item needs."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file, self._text, self._at = file, "", 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no white space; none at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self) -> str:
        """That character, and go on behind it."""
        mark = self.peek()
        self._at += len(mark)
        return mark

    def item(self, number: int) -> Any:
        """The next item, and go on behind it."""
        where = f"{self.path}, item {number}"
        if self.peek() not in ("{", '"'):
            raise ValueError(f"{where} begins with {self.peek()!r}, expected a JSON object")
        while True:
            try:
                item, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:  # of a broken item, or of one whose end is not read yet
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise ValueError(f"{where} is not JSON ({error.msg}): correct it, or get the file again") from error
            except RecursionError as error:
                raise ValueError(f"{where} is nested too deeply: expected a JSON object") from error
            else:
                return item

    def _more(self) -> bool:
        """Read on, twice as much each time for one item, so that a long one is not parsed too often."""
        rest = self._text[self._at :]
        new = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._at = rest + new, 0
        return bool(new)
