"""A user's own candidates, scores and pairs: which files are read, which columns, and what is refused.

Read this before changing a column's name: people's files have it. Paths in a file are relative to it, or to a folder.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfportrait import rows
from selfportrait.commands import imagefolder
from selfportrait.prompts.ospo import Ospo
from selfportrait.stages import GivenPair, GivenPicture
from selfportrait.types import Picture, Prompt

__all__ = ["read_pairs", "read_pictures", "read_scores"]

_PROMPTS = ("prompt", "text", "caption")
_IMAGES = ("image", "file_name", "path")
_SCORES = ("score", "value")
_KINDS = tuple(kind for kind in rows.KINDS if kind != ".txt")


def read_pictures(folder: Path) -> list[GivenPicture]:
    """The pictures of a folder with a metadata.jsonl, as the library `datasets` reads it."""
    found = imagefolder.described([folder], None)
    listing = folder / imagefolder.METADATA
    return [GivenPicture(_prompt(text), Picture(str(listing), path)) for path, text in found]


def read_scores(file: Path, images: Path | None) -> dict[str, float] | list[GivenPicture]:
    """Scores by candidate, from the columns candidate_id and score; or of pictures: prompt, image and score."""
    found = list(_rows(file, ("candidate_id", *_PROMPTS, *_IMAGES, *_SCORES)))
    if any("candidate_id" in row for _, row in found):
        by_id: dict[str, float] = {}
        for where, row in found:
            id = _text(row, ("candidate_id",), where)
            if id in by_id:
                raise ValueError(f"{where}: the candidate {id} comes again; give one score each")
            by_id[id] = _needed_number(row, where)
        return by_id
    folder = images or file.parent
    return [
        GivenPicture(
            _prompt(_text(row, _PROMPTS, where)), _picture(row, _IMAGES, where, folder), _needed_number(row, where)
        )
        for where, row in found
    ]


def read_pairs(file: Path, images: Path | None, moved_from: str) -> list[GivenPair]:
    """Pairs from columns prompt, chosen and rejected (pictures), with scores if there are any; or OSPO's JSON list."""
    if file.suffix == ".json":
        return _published(file, images, moved_from)
    known = (*_PROMPTS, "chosen", "rejected", "chosen_score", "rejected_score", "rejected_prompt")
    folder = images or file.parent
    return [
        GivenPair(
            _prompt(_text(row, _PROMPTS, where)),
            _picture(row, ("chosen",), where, folder),
            _picture(row, ("rejected",), where, folder),
            _number(row, ("chosen_score",), where),
            _number(row, ("rejected_score",), where),
            _text(row, ("rejected_prompt",), where) if row.get("rejected_prompt") else None,
        )
        for where, row in _rows(file, known)
    ]


def _published(file: Path, images: Path | None, moved_from: str) -> list[GivenPair]:
    pairs = Ospo(path=str(file), images=str(images or ""), moved_from=moved_from).pairs()
    return [
        GivenPair(
            pair.prompt,
            Picture(f"{file}, item {pair.prompt.id}", pair.chosen),
            Picture(f"{file}, item {pair.prompt.id}", pair.rejected),
            pair.chosen_score,
            pair.rejected_score,
            pair.rejected_prompt,
        )
        for pair in pairs
    ]


def _rows(file: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a file, each with where it stands."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}: give one of the kinds {', '.join(_KINDS)}")
    if file.suffix not in _KINDS:
        raise ValueError(f"{file} is of no known kind: expected {', '.join(_KINDS)}")
    found = [(f"{file}, line {number}", row) for number, row in rows.read(file, columns)]
    if not found:
        raise ValueError(f"{file} is empty: expected at least one line")
    return found


def _column(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        raise ValueError(f"{where}: no {' or '.join(names)} among {', '.join(map(str, row)) or 'nothing'}")
    return row[name]


def _text(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    value = _column(row, names, where)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {names[0]} = {value!r}, expected text")
    return value.strip()


def _picture(row: Mapping[str, Any], names: Sequence[str], where: str, folder: Path) -> Picture:
    """A path, or what `datasets` stores for a picture: its bytes, or the path of its file."""
    value = _column(row, names, where)
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return Picture(where, value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{where}: {names[0]} = {value!r:.40}, expected the path of a picture")
    return Picture(where, folder / value)


def _needed_number(row: Mapping[str, Any], where: str) -> float:
    value = _number(row, _SCORES, where)
    if value is None:
        raise ValueError(f"{where}: no {' or '.join(_SCORES)}; leave the line out where there is none")
    return value


def _number(row: Mapping[str, Any], names: Sequence[str], where: str) -> float | None:
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {names[0]} = {value!r}, expected a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{where}: {names[0]} = {value!r}, expected a finite number")
    return number


def _prompt(text: str) -> Prompt:
    return Prompt(hashlib.sha1(text.encode()).hexdigest(), text)
