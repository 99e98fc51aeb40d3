"""Preference pairs from the JSON of the Human Preference Dataset, v2: rankings of two or more pictures of a prompt.

Read this to learn which of its keys are used, and which pairs several pictures make.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Literal

from selfportrait.preferences._json_list import items
from selfportrait.preferences._pairs import Limit, end, inside, pair, preference
from selfportrait.preferences.base import Dropped, Reading
from selfportrait.types import Picture, PreferencePair

__all__ = ["Hpd"]

_IMAGES = ("image_path", "file_path")
_ORDERS = ("human_preference", "rank")

Row = tuple[int, Mapping[str, Any], int, int, float | None]  # item, record, two of its pictures, which is better


class Hpd:
    """Read preference pairs from a JSON file of HPD v2, such as train.json or test.json: a list of ranked pictures.

    A record has `prompt`, `image_path` (or `file_path`) and `human_preference`, a list in which 1 is better than 0, or
    `rank`, a list in which lower is better. Of more than two pictures come all pairs, or one of the best and the worst.
    Pictures are read from the folder `images`, by default the one beside the file that is called like it (train/), or
    else the file's own, and from nowhere outside it.
    """

    def __init__(
        self, *, path: str, images: str = "", pairs: Literal["all", "best_worst"] = "all", limit: Limit = None
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {path}: give preferences.path a JSON file of HPD v2")
        beside = self.path.with_suffix("")
        self._images = Path(images) if images else beside if beside.is_dir() else self.path.parent
        if not self._images.is_dir():
            raise FileNotFoundError(f"There is no folder {images}: give preferences.images the folder of the pictures")
        self._pairs = pairs
        self._limit = limit
        if next(self._orders(), None) is None:
            raise ValueError(f"{path} is empty: expected at least one record")

    @cached_property
    def num_rows(self) -> int:
        return sum(1 for _ in islice(self._orders(), self._limit))

    def __iter__(self) -> Reading:
        return Reading(self)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        orders = islice(self._orders(), end(stop, self._limit))
        for index, (number, record, first, second, label) in islice(enumerate(orders), start, None):
            where = f"{self.path}, item {number}"
            names = _names(record, where)
            both = (self._picture(names[first], where), self._picture(names[second], where))
            yield pair(index, record["prompt"], both, label, names=(names[first], names[second]))

    def _picture(self, name: str, where: str) -> Picture:
        return Picture(where, inside(self._images, name, where))

    def _orders(self) -> Iterator[Row]:
        """Every two pictures that are compared, one row each, in the order of the file."""
        for number, record in items(self.path):
            where = f"{self.path}, item {number}"
            values = _values(record, where)
            for first, second in self._compared(values):
                yield number, record, first, second, _label(values[first], values[second])

    def _compared(self, values: list[float | None]) -> Iterator[tuple[int, int]]:
        known = [index for index, value in enumerate(values) if value is not None]
        if self._pairs == "all" or len(known) < 2:
            return combinations(range(len(values)), 2)
        ordered = sorted(known, key=lambda index: -(values[index] or 0))
        return iter([(ordered[0], ordered[-1])])


def _values(record: Any, where: str) -> list[float | None]:
    """What each picture of a record is worth, higher is better, None where nobody said; checks the whole record."""
    if not isinstance(record, dict):
        raise ValueError(f"{where} is a text: a list of prompts has no pairs; give train.json or test.json")
    missing = [" or ".join(some) for some in (("prompt",), _IMAGES, _ORDERS) if not any(key in record for key in some)]
    if missing:
        raise ValueError(f"{where} has no key {' and no '.join(missing)}; it has {', '.join(record) or 'none'}")
    if not isinstance(record["prompt"], str):
        raise ValueError(f"{where}: prompt = {record['prompt']!r:.40}, expected text")
    names, key = _names(record, where), next(key for key in _ORDERS if key in record)
    given = record[key]
    if not isinstance(given, list) or len(given) != len(names):
        raise ValueError(f"{where}: {key} = {given!r:.40}, expected a list of {len(names)}, one for each picture")
    if key == "human_preference":
        return [preference(value, key, where) for value in given]
    return [None if value is None else -_rank(value, where) for value in given]


def _names(record: Mapping[str, Any], where: str) -> list[str]:
    key = next(key for key in _IMAGES if key in record)
    names = record[key]
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{where}: {key} = {names!r:.40}, expected a list of at least two paths")
    return names


def _rank(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{where}: rank = {value!r}, expected numbers, the lowest of the best picture")
    return float(value)


def _label(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return None
    return 0.5 if first == second else float(first > second)
