"""Preference pairs from a folder of pictures with a metadata.csv or metadata.jsonl, in columns that people have.

Read this to learn which columns are read, and how a user's own instances are written down.
"""

import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from selfportrait import rows
from selfportrait.preferences._pairs import Limit, end, inside, pair, preference
from selfportrait.preferences.base import Dropped, Reading
from selfportrait.types import Box, Instance, Picture, PreferencePair

__all__ = ["Folder"]

_PROMPTS = ("prompt", "text", "caption")
_FILES = ("metadata.jsonl", "metadata.csv")
_INSTANCE = ("name", "chosen_box", "rejected_box", "chosen_confidence", "rejected_confidence", "is_conflict")


class Folder:
    """Read preference pairs from a folder of pictures with a metadata.jsonl or metadata.csv that lists them.

    Its columns are `prompt` (or text, or caption), `chosen` and `rejected`, which hold paths of pictures.
    `path` is the folder, or its file where that is called otherwise; paths are relative to the folder, and lead nowhere
    outside it. A column `label` may say 1, 0 where the rejected picture is the better one, or 0.5 for a
    tie. A column `instances` may hold a list of objects with the fields of `Instance`, in a CSV as JSON.
    """

    def __init__(self, *, path: str, limit: Limit = None) -> None:
        self.path = _listing(Path(path))
        self._folder = self.path.parent
        self._limit = limit
        first = next((row for _, row in rows.read(self.path, ()) if row != {"text": ""}), None)
        if first is None:
            raise ValueError(f"{self.path} is empty: expected at least one pair")
        _check_columns(self.path, first)
        self._is_labelled = "label" in first

    @cached_property
    def num_rows(self) -> int:
        return sum(1 for _ in islice(rows.read(self.path, ()), self._limit))

    def __iter__(self) -> Reading:
        return Reading(self)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        lines = islice(rows.read(self.path, ()), start, end(stop, self._limit))
        for index, (number, row) in enumerate(lines, start=start):
            yield self._pair(index, row, f"{self.path}, line {number}")

    def _pair(self, index: int, row: Mapping[str, Any], where: str) -> PreferencePair | Dropped:
        prompt = next((row[name] for name in _PROMPTS if row.get(name) not in (None, "")), "")
        if not isinstance(prompt, str):
            raise ValueError(f"{where}: the prompt is {prompt!r:.40}, expected text")
        has_label = self._is_labelled or "label" in row
        label = preference(row.get("label"), "label", where) if has_label else 1.0
        names = (_name(row.get("chosen"), "chosen", where), _name(row.get("rejected"), "rejected", where))
        both = (self._picture(names[0], where), self._picture(names[1], where))
        return pair(index, prompt, both, label, instances=_instances(row.get("instances"), where), names=names)

    def _picture(self, name: str, where: str) -> Picture | None:
        return Picture(where, inside(self._folder, name, where)) if name else None


def _listing(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in (".jsonl", ".csv"):
            raise ValueError(f"{path} is of no known kind: expected .jsonl or .csv")
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"There is no {path}: give preferences.path a folder with a {' or '.join(_FILES)}")
    found = [path / name for name in _FILES if (path / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{path} has no {' and no '.join(_FILES)}: write one of them")
    if len(found) > 1:
        raise ValueError(f"{path} has both {' and '.join(_FILES)}: give preferences.path the one to read")
    return found[0]


def _check_columns(path: Path, row: Mapping[str, Any]) -> None:
    needed = [_PROMPTS, ("chosen",), ("rejected",)]
    missing = [" or ".join(names) for names in needed if not any(name in row for name in names)]
    if missing:
        raise ValueError(
            f"{path} has no column {' and no '.join(missing)}; it has {', '.join(map(str, row)) or 'none'}"
        )


def _name(value: Any, column: str, where: str) -> str:
    """The path of a picture as the file has it; none where there is none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where}: {column} = {value!r:.40}, expected the path of a picture")
    return value


def _instances(value: Any, where: str) -> list[Instance]:
    if value in (None, ""):
        return []
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{where}: instances is not JSON ({error}): expected a list of objects") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{where}: instances = {found!r:.40}, expected a list of objects")
    return [_instance(one, f"{where}, instance {number}") for number, one in enumerate(found, start=1)]


def _instance(found: Mapping[str, Any], where: str) -> Instance:
    for key in found:
        if key not in _INSTANCE:
            raise ValueError(f"{where}: unknown field {key!r}, expected {', '.join(_INSTANCE)}")
    if not isinstance(found.get("name"), str) or not isinstance(found.get("is_conflict"), bool):
        raise ValueError(f"{where}: expected name, a text, and is_conflict, true or false; got {json.dumps(found):.80}")
    return Instance(
        found["name"],
        _box(found, "chosen_box", where),
        _box(found, "rejected_box", where),
        found["is_conflict"],
        _confidence(found, "chosen_confidence", where),
        _confidence(found, "rejected_confidence", where),
    )


def _box(found: Mapping[str, Any], field: str, where: str) -> Box:
    value = found.get(field)
    if not isinstance(value, list) or len(value) != 4 or not all(type(edge) is int for edge in value):
        raise ValueError(f"{where}: {field} = {value!r:.40}, expected four whole numbers, [x0, y0, x1, y1]")
    return (value[0], value[1], value[2], value[3])


def _confidence(found: Mapping[str, Any], field: str, where: str) -> float:
    value = found.get(field, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: {field} = {value!r}, expected a number")
    return float(value)
