"""Rows of a user's own file: text, JSON lines, CSV or Parquet, with the line each stands on.

Read this to learn what is refused while a file is read.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["KINDS", "Row", "read"]

Row = tuple[int, dict[str, Any]]  # the line or row it stands on, from 1, and its columns


def read(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a file that is one of KINDS; of a Parquet file these columns, or all where it has none of them.

    A line of a text file is the column `text`, and so is an empty one of any kind. Raises ValueError.
    """
    return _parquet_rows(path, columns) if path.suffix == ".parquet" else _READERS[path.suffix](path)


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


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open("rb") as file:
        try:
            parquet = pq.ParquetFile(file)
            known = [name for name in columns if name in parquet.schema_arrow.names]
            found = parquet.read(known or None).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is not a Parquet file that can be read: {' '.join(str(error).split())}"
            ) from error
    yield from enumerate(found, start=1)


def _lines(path: Path) -> Iterator[str]:
    """A text file's lines, one by one, without the empty ones at its end."""
    held: list[str] = []  # a line and the empty ones after it, until another shows that this is not the end
    for line in _decoded(path):
        if line.strip():
            yield from held
            held.clear()
        held.append(line)
    while held and not held[-1].strip():
        held.pop()
    yield from held[:-1]
    yield from (line.rstrip() for line in held[-1:])


def _decoded(path: Path) -> Iterator[str]:
    start = 0
    with path.open("rb") as file:
        for line in file:
            try:
                text = line.decode("utf-8" if start else "utf-8-sig")
            except UnicodeDecodeError as error:
                byte = start + error.start
                raise ValueError(f"The file {path} is not UTF-8 text (byte {byte}): save it as UTF-8") from error
            start += len(line)
            yield text.removesuffix("\n")


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {".txt": _text_rows, ".jsonl": _jsonl_rows, ".csv": _csv_rows}
KINDS = (*_READERS, ".parquet")
