"""Prompts from a file of the user's own: text, JSON lines, CSV or Parquet.

Read this to learn which columns are read and what is refused.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfportrait.types import Prompt

__all__ = ["File"]

_TEXT_COLUMNS = ("text", "prompt", "caption")
_log = logging.getLogger(__name__)

Row = tuple[int, dict[str, Any]]  # the line or row it stands on, from 1, and its columns


class File:
    """Read prompts from .txt (one a line), or .jsonl, .csv or .parquet with a column text, prompt or caption.

    Columns `id` and `category` are used where there are any; otherwise the id is the SHA-1 of the text and the
    category is the setting. A text that comes again is dropped. Raises FileNotFoundError or ValueError when built.
    """

    def __init__(self, *, path: str, category: str = "") -> None:
        self._prompts = _prompts(Path(path), category)

    def __call__(self) -> list[Prompt]:
        return list(self._prompts)


def _prompts(path: Path, category: str) -> list[Prompt]:
    if not path.is_file():
        raise FileNotFoundError(f"The prompts file {path} does not exist or is not a file: give prompts.path a file")
    if path.suffix not in _READERS:
        raise ValueError(f"The prompts file {path} is of no known kind: expected {', '.join(_READERS)}")
    prompts: dict[str, Prompt] = {}
    num_rows = 0
    ids: dict[str, str] = {}
    for number, row in _READERS[path.suffix](path):
        num_rows += 1
        prompt = _prompt(path, number, row, category)
        if prompt.text in prompts:
            continue
        if ids.setdefault(prompt.id, prompt.text) != prompt.text:
            raise ValueError(f"{path}, line {number}: the id {prompt.id!r} comes again with another text")
        prompts[prompt.text] = prompt
    if not prompts:
        raise ValueError(f"The prompts file {path} is empty: expected at least one prompt")
    if num_rows > len(prompts):
        _log.warning("%s: %d of %d prompts came again and were dropped", path, num_rows - len(prompts), num_rows)
    return list(prompts.values())


def _prompt(path: Path, number: int, row: dict[str, Any], category: str) -> Prompt:
    column = next((name for name in _TEXT_COLUMNS if name in row), None)
    if column is None:
        raise ValueError(f"{path}, line {number}: no column text, prompt or caption among {', '.join(map(str, row))}")
    value = row[column]
    if not isinstance(value, str):
        raise ValueError(f"{path}, line {number}: {column} = {value!r}, expected text")
    text = value.strip()
    if not text:
        raise ValueError(f"{path}, line {number} is empty: expected a prompt; delete the line or fill it in")
    own_id, own_category = row.get("id"), row.get("category")
    id = hashlib.sha1(text.encode()).hexdigest() if own_id in (None, "") else str(own_id)
    return Prompt(id=id, text=text, category=str(own_category or category))


def _text_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        yield number, {"text": line}


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            yield number, {"text": ""}
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON ({error}): expected an object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f'{path}, line {number} is not a JSON object: expected such as {{"text": "a red circle"}}')
        yield number, row


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader((f"{line}\n" for line in _lines(path)), strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            if cells and len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num} has {len(cells)} columns, expected {len(header)}: "
                    "put texts that hold commas in double quotes"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True)) if cells else {"text": ""}
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num} is not CSV ({error})") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        try:
            parquet = pq.ParquetFile(file)
            known = [name for name in (*_TEXT_COLUMNS, "id", "category") if name in parquet.schema_arrow.names]
            rows = parquet.read(known or None).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is not a Parquet file that can be read: {' '.join(str(error).split())}"
            ) from error
    yield from enumerate(rows, start=1)


def _lines(path: Path) -> list[str]:
    """Return a text file's lines without the empty ones at its end."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The prompts file {path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    stripped = text.rstrip()
    return stripped.split("\n") if stripped else []


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".txt": _text_rows,
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
