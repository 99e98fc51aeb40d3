"""From two pictures and what somebody said of them to a preference pair, or to the reason why it is none.

Read this to learn which labels are read, what is dropped in every format, and what a pair's id is made of.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from selfportrait.preferences.base import Dropped, Tie
from selfportrait.types import Instance, Picture, PreferencePair

__all__ = ["Limit", "end", "inside", "pair", "preference"]

Limit = Annotated[int, pydantic.Field(ge=1)] | None
"""A setting: only the first so many rows are read, those among them that are dropped."""


def preference(value: Any, column: str, where: str) -> float | None:
    """A label: 1, 0, 0.5 for a tie, or None where there is none; raises ValueError for anything else."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if number not in (0, 0.5, 1):
        raise ValueError(f"{where}: {column} = {value!r}, expected 0, 0.5 or 1; correct it, or leave the row out")
    return number


def pair(
    index: int,
    prompt: Any,
    pictures: tuple[Picture | None, Picture | None],
    label: float | None,
    *,
    instances: Sequence[Instance] = (),
    names: tuple[str, str] | None = None,
) -> PreferencePair | Dropped:
    """The pair of two pictures of which the first is better where `label` is 1; where it is 0 they change places.

    `instances` are as if the first were the chosen one. `names` are what tells the pictures apart in the pair's id;
    without them it is their keys.
    """
    text = prompt.strip() if isinstance(prompt, str) else ""
    if not text:
        return Dropped(index, "empty prompt")
    if label is None:
        return Dropped(index, "no label")
    first, second = pictures
    if label == 0.5:
        return Dropped(index, "tie", Tie(text, first, second) if first and second else None)
    if first is None or second is None or not (_is_there(first) and _is_there(second)):
        return Dropped(index, "no picture")
    if _are_same(first, second):
        return Dropped(index, "identical pictures")
    ids = names or (first.key, second.key)
    if label == 1:
        return PreferencePair(_id(text, *ids), text, first, second, tuple(instances), index)
    return PreferencePair(_id(text, *ids[::-1]), text, second, first, tuple(map(_swapped, instances)), index)


def inside(folder: Path, name: str, where: str) -> Path:
    """The file of that name in a folder; raises ValueError where dots, links or a root lead out of it."""
    file = (folder / name).resolve() if "\0" not in name else None
    if file is None or not file.is_relative_to(folder.resolve()):
        raise ValueError(f"{where}: the picture {name!r} lies outside {folder}: bring it into that folder")
    return file


def end(stop: int | None, limit: int | None) -> int | None:
    """Where reading ends by both, None for nowhere."""
    return min((value for value in (stop, limit) if value is not None), default=None)


def _is_there(picture: Picture) -> bool:
    return bool(picture.source) if isinstance(picture.source, bytes) else picture.source.is_file()


def _are_same(first: Picture, second: Picture) -> bool:
    """By uid or by bytes; files of different sizes are not opened."""
    if first.uid and first.uid == second.uid:
        return True
    if isinstance(first.source, Path) and isinstance(second.source, Path):
        if first.source == second.source:
            return True
        if first.source.stat().st_size != second.source.stat().st_size:
            return False
    return first.data() == second.data()


def _id(prompt: str, chosen: str, rejected: str) -> str:
    return hashlib.sha256("\x1f".join((prompt, chosen, rejected)).encode()).hexdigest()[:32]


def _swapped(instance: Instance) -> Instance:
    """What a judge said when the pictures change places: it preferred one of the two, so a conflict becomes none."""
    return Instance(
        instance.name,
        instance.rejected_box,
        instance.chosen_box,
        not instance.is_conflict,
        instance.rejected_confidence,
        instance.chosen_confidence,
    )
