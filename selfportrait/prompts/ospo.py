"""Prompts, and preference pairs, from a list that OSPO published: its JSON is read as it is.

Read this to learn which of its keys are used, what is refused, and where its pictures may lie.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from selfportrait.asking.roles import dense, perturbed
from selfportrait.types import Prompt, Question

__all__ = ["Ospo"]

_log = logging.getLogger(__name__)
_CATEGORIES = ("sub_category", "t2i_category", "category")
_LISTS = ("question", "negative_prompt", "long_prompt", "negative_long_prompt", "perturbed_method")


class PublishedPair(NamedTuple):
    """One preference pair of the list: its base prompt with questions, two picture files, and what the list says."""

    prompt: Prompt
    chosen: Path
    rejected: Path
    chosen_score: float | None
    rejected_score: float | None
    rejected_prompt: str | None


class Ospo:
    """Read a JSON list of OSPO's records: base prompts, and with them questions, perturbed and detailed prompts, pairs.

    Needed are `item_id` and `prompt`; `sub_category`, `question`, `negative_prompt`, `long_prompt`,
    `negative_long_prompt` and `perturbed_method` are used where there are any, an empty text being a slot that failed.
    Pictures are read from the folder `images`, by default that of the list, and from nowhere outside it; the published
    lists name them by the paths of another machine, of which `moved_from` is the part to leave out. The texts are
    checked when it is built, the pictures when pairs are asked for.
    """

    def __init__(self, *, path: str, images: str = "", moved_from: str = "") -> None:
        self._path = Path(path)
        self._images = Path(images) if images else self._path.parent
        self._moved_from = moved_from
        self._records = _records(self._path)

    def __call__(self) -> list[Prompt]:
        """The base prompts, with their questions."""
        return [_prompt(record) for record in self._records]

    def rewrites(self) -> list[Prompt]:
        """The perturbed prompts, and the detailed ones of every slot that has both, with parents and roles."""
        return [rewrite for record in self._records for rewrite in _rewrites(record)]

    def pairs(self) -> list[PublishedPair]:
        """The pairs; raises ValueError or FileNotFoundError where there are none, or a picture is not in its folder."""
        given = [record for record in self._records if "chosen" in record or "rejected" in record]
        if not given:
            raise ValueError(f"{self._path} holds no pairs: no item has the keys chosen and rejected")
        pairs = [self._pair(record) for record in given]
        files = [file for pair in pairs for file in (pair.chosen, pair.rejected)]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self._path}: {len(missing)} of {len(files)} pictures are missing, the first is {missing[0]}: give "
                "prompts.images their folder"
            )
        return pairs

    def _pair(self, record: Mapping[str, Any]) -> PublishedPair:
        files = [self._file(record, key) for key in ("chosen", "rejected")]
        scores = [_score(self._path, record, key) for key in ("chosen_score", "rejected_score")]
        rejected_prompt = record.get("rejected_prompt")
        if rejected_prompt is not None and not isinstance(rejected_prompt, str):
            raise ValueError(f"{_where(self._path, record)}: rejected_prompt = {rejected_prompt!r}, expected text")
        return PublishedPair(_prompt(record), files[0], files[1], scores[0], scores[1], rejected_prompt)

    def _file(self, record: Mapping[str, Any], key: str) -> Path:
        """A picture's file, which lies in the folder whatever links and dots its path has."""
        value = record.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"{_where(self._path, record)}: {key} = {value!r}, expected the path of a picture")
        named = PurePosixPath(value)
        if self._moved_from and named.is_relative_to(self._moved_from):
            named = named.relative_to(self._moved_from)
        file = (self._images / named).resolve()
        if not file.is_relative_to(self._images.resolve()):
            raise ValueError(
                f"{_where(self._path, record)}: {key} = {value!r} lies outside {self._images}: give prompts.images the "
                "folder of the pictures, and prompts.moved_from the part of their paths to leave out"
            )
        return file


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"The list {path} does not exist or is not a file: give prompts.path a JSON file")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"The list {path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The list {path} is not JSON ({error}): expected a list of records") from error
    if not isinstance(records, list):
        raise ValueError(f"The list {path} does not hold a JSON list: expected one of records with item_id and prompt")
    if not records:
        raise ValueError(f"The list {path} is empty: expected at least one record")
    for index, record in enumerate(records):
        _check(path, index, record)
    by_id: dict[str, dict[str, Any]] = {}
    for record in records:
        if by_id.setdefault(record["item_id"], record)["prompt"] != record["prompt"]:
            raise ValueError(f"{_where(path, record)} comes again with another prompt")
    if len(by_id) < len(records):
        _log.warning("%s: %d of %d items came again and were dropped", path, len(records) - len(by_id), len(records))
    return list(by_id.values())


def _check(path: Path, index: int, record: Any) -> None:
    if not isinstance(record, dict):
        raise ValueError(f"{path}, item {index + 1} is not a JSON object: expected one with item_id and prompt")
    for key in ("item_id", "prompt"):
        if key not in record:
            raise ValueError(f"{path}, item {index + 1} has no key {key}: it has {', '.join(record) or 'none'}")
        if not isinstance(record[key], str) or not record[key].strip():
            raise ValueError(f"{path}, item {index + 1}: {key} = {record[key]!r}, expected text")
    for key in _CATEGORIES:
        if not isinstance(record.get(key, ""), str):
            raise ValueError(f"{_where(path, record)}: {key} = {record[key]!r}, expected text")
    for key in _LISTS:
        value = record.get(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise ValueError(f"{_where(path, record)}: {key} should be a list of texts")
    num_slots = len(record.get("negative_prompt", []))
    for key in ("long_prompt", "negative_long_prompt", "perturbed_method"):
        if key in record and len(record[key]) != num_slots:
            raise ValueError(
                f"{_where(path, record)}: {key} has {len(record[key])} texts, expected {num_slots}, as many as "
                "negative_prompt has"
            )


def _where(path: Path, record: Mapping[str, Any]) -> str:
    return f"{path}, item {record['item_id']}"


def _prompt(record: Mapping[str, Any]) -> Prompt:
    category = next((record[key] for key in _CATEGORIES if record.get(key)), "")
    questions = tuple(Question(text.strip()) for text in record.get("question", []) if text.strip())
    return Prompt(record["item_id"], record["prompt"].strip(), category, tuple(dict.fromkeys(questions)))


def _rewrites(record: Mapping[str, Any]) -> list[Prompt]:
    base, short = _prompt(record), record.get("negative_prompt", [])
    nothing = [""] * len(short)
    slots = zip(
        short,
        record.get("perturbed_method", nothing),
        record.get("long_prompt", nothing),
        record.get("negative_long_prompt", nothing),
        strict=True,
    )
    found = []
    for slot, (text, edit, long_base, long_perturbed) in enumerate(slots):
        if not text.strip():
            continue
        prompt = perturbed(base, slot, edit.strip(), text.strip())
        found.append(prompt)
        if long_base.strip() and long_perturbed.strip():
            found += [dense(base, slot, edit.strip(), long_base.strip())]
            found += [dense(prompt, slot, edit.strip(), long_perturbed.strip())]
    return found


def _score(path: Path, record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{_where(path, record)}: {key} = {value!r}, expected a finite number")
    return float(value)
