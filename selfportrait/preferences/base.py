"""What a source of preference pairs is, and the reading of one. Read this before adding a file to this folder.

A source gives its rows in order, each a pair or the reason why it is none; a reading makes pairs and counts of them.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from PIL import Image

from selfportrait.types import Picture, PreferencePair

__all__ = ["UNREADABLE", "Decoded", "Dropped", "PreferenceSource", "Reading", "Tie"]

UNREADABLE = "unreadable picture"
_log = logging.getLogger(__name__)


class Tie(NamedTuple):
    """Two pictures of a prompt that somebody compared and called equal."""

    prompt: str
    first: Picture
    second: Picture


@dataclass(frozen=True)
class Dropped:
    """A row that is no pair to train on, with the reason; of a tie, also what was called equal."""

    index: int
    reason: str
    tie: Tie | None = field(default=None, compare=False)


class Decoded(NamedTuple):
    """A pair with its pictures as RGB, of whatever sizes they have."""

    pair: PreferencePair
    chosen: Image.Image
    rejected: Image.Image


class PreferenceSource(Protocol):
    """Gives the same rows in the same order every time, in constant memory; pictures stay encoded.

    A row keeps its index whatever is dropped, so that a stage can begin at any row. What can fail without reading every
    row has failed when it was built; a row that no reading could make sense of raises ValueError where it stands.
    """

    path: Path

    @property
    def num_rows(self) -> int:
        """How many rows there are, dropped ones among them; it may have to read the file's texts once."""
        ...

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        """The rows from `start` up to `stop`, without it all of them."""
        ...

    def __iter__(self) -> "Reading": ...


class Reading:
    """The pairs of some rows of a source, one by one, while what is dropped on the way is counted by reason.

    Raises ValueError at the end of a whole source that gave no pair.
    """

    def __init__(self, source: PreferenceSource, *, start: int = 0, stop: int | None = None) -> None:
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"Rows {start} to {stop} of {source.path} cannot be read: expected 0 <= start <= stop")
        self._path = source.path
        self._is_whole = start == 0 and stop is None
        self._rows = source.rows(start, stop)
        self._kept = 0
        self._dropped: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, Any]:
        """What was kept and dropped so far, as in yield.json: {"kept": 25, "dropped": {"tie": 3}}."""
        return {"kept": self._kept, "dropped": dict(sorted(self._dropped.items()))}

    def __iter__(self) -> "Reading":
        return self

    def __next__(self) -> PreferencePair:
        for row in self._rows:
            if isinstance(row, PreferencePair):
                self._kept += 1
                return row
            self._dropped[row.reason] += 1
        if self._is_whole and not self._kept:
            lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self._dropped.items()))
            raise ValueError(f"{self._path} gives no pair (dropped: {lost or 'nothing'}): expected at least one")
        raise StopIteration

    def decoded(self) -> Iterator[Decoded]:
        """The pairs with their pictures; a pair with one that cannot be decoded is dropped, and its reason logged."""
        for pair in self:
            try:
                found = Decoded(pair, pair.chosen.read(), pair.rejected.read())
            except (ValueError, OSError) as error:
                self._kept -= 1
                self._dropped[UNREADABLE] += 1
                _log.warning("row %d is left out: %s", pair.index, error)
                continue
            yield found
