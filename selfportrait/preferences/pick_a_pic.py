"""Preference pairs from Parquet in the columns of Pick-a-Pic, v1 or v2, as they are published.

Read this to learn which of its columns are used, and how reading begins in the middle of 300 GB.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from selfportrait import hub
from selfportrait.preferences._pairs import Limit, pair, preference
from selfportrait.preferences.base import Dropped, Reading
from selfportrait.types import Picture, PreferencePair

__all__ = ["PickAPic"]

_NEEDED = ("caption", "jpg_0", "jpg_1", "label_0")
_OPTIONAL = ("label_1", "has_label", "image_0_uid", "image_1_uid")
_PART = re.compile(r"(?P<split>.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
_BATCH_ROWS = 32  # pictures of this many rows are held, and the page of each column that they are in
_BUFFER_BYTES = 2**20  # read from a column at a time; without it all of a row group is


class PickAPic:
    """Read preference pairs from a Parquet file in Pick-a-Pic's columns, from a folder of part files, or from the hub.

    A hub id, such as yuvalkirstain/pickapic_v2, names a data set that was downloaded into the hub's cache, whole or in
    part; until it was, every reading raises FileNotFoundError.
    Needed are `caption`, `jpg_0` and `jpg_1` (encoded pictures, or what `datasets` stores for its Image feature) and
    `label_0`; `label_1`, `has_label` and the pictures' uids are used where they are. Parts lie in the folder, or in its
    folder data/, and are read in the order of their names; where they are of several splits, `split` chooses one. What
    is held of a file is a page of each column, at most a row group.
    """

    def __init__(self, *, path: str, split: str = "", limit: Limit = None) -> None:
        found = hub.find(path)
        self.path, self._limit = found or Path(path), limit
        self._found = None if found is None else [_part(file) for file in _files(self.path, split)]

    @property
    def _parts(self) -> list["_Part"]:
        if self._found is None:
            raise hub.absent("preferences.path", str(self.path))
        return self._found

    @property
    def num_rows(self) -> int:
        total = sum(sum(part.sizes) for part in self._parts)
        return total if self._limit is None else min(total, self._limit)

    def __iter__(self) -> Reading:
        return Reading(self)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        last, first = self.num_rows if stop is None else min(stop, self.num_rows), 0
        for part in self._parts:
            following = first + sum(part.sizes)
            if max(start, first) < min(last, following):
                for number, row in _rows(part, max(start - first, 0), last - first):
                    yield _pair(part.file, first + number, number + 1, row)
            first = following


class _Part(NamedTuple):
    """One file, which of its columns are read, and how many rows each of its row groups has."""

    file: Path
    columns: list[str]
    sizes: list[int]


def _files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"There is no {path}: give preferences.path a Parquet file, or a folder of them")
    files = sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{path} holds no .parquet file: give preferences.path the folder of the part files")
    splits = {_split(file) for file in files}
    if split and split not in splits:
        raise ValueError(f"preferences.split = {split!r}: {path} holds {_listed(splits)}")
    if not split and len(splits) > 1:
        raise ValueError(f"{path} holds {_listed(splits)}: give preferences.split one of them")
    return [file for file in files if not split or _split(file) == split]


def _split(file: Path) -> str:
    named = _PART.fullmatch(file.stem)
    return named["split"] if named else ""


def _listed(splits: set[str]) -> str:
    names = ", ".join(sorted(splits - {""}))
    others = "files of no split" if "" in splits else ""
    return " and ".join(part for part in (f"the splits {names}" if names else "", others) if part)


def _part(file: Path) -> _Part:
    with file.open("rb") as opened:
        try:
            parquet = pq.ParquetFile(opened)
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(file, error) from error
        schema, metadata = parquet.schema_arrow, parquet.metadata
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise ValueError(
            f"{file} has no column {' and '.join(missing)}; it has {', '.join(schema.names) or 'none'}: give a file in "
            "Pick-a-Pic's columns"
        )
    for name in ("jpg_0", "jpg_1"):
        if not _holds_pictures(schema.field(name).type):
            raise ValueError(f"{file}: the column {name} is {schema.field(name).type}, expected encoded pictures")
    if not _holds_text(schema.field("caption").type):
        raise ValueError(f"{file}: the column caption is {schema.field('caption').type}, expected text")
    columns = [name for name in (*_NEEDED, *_OPTIONAL) if name in schema.names]
    return _Part(file, columns, [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)])


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_pictures(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _rows(part: _Part, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file from `start` up to `stop`, numbered from 0; row groups outside are not read."""
    firsts = list(accumulate(part.sizes, initial=0))
    groups = [index for index, (first, last) in enumerate(pairwise(firsts)) if first < stop and start < last]
    number = firsts[groups[0]]
    for batch in _batches(part, groups):
        skipped = min(max(start - number, 0), batch.num_rows)
        wanted = batch.slice(skipped, max(stop - number - skipped, 0))
        yield from enumerate(wanted.to_pylist(), start=number + skipped)
        number += batch.num_rows


def _batches(part: _Part, groups: list[int]) -> Iterator[pa.RecordBatch]:
    settings = {"buffer_size": _BUFFER_BYTES, "pre_buffer": False, "page_checksum_verification": True}
    try:
        with pq.ParquetFile(part.file, **settings) as parquet:  # by its path: of an open file pyarrow copies every page
            yield from parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=part.columns)
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(part.file, error) from error


def _corrupt(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file} is not a Parquet file that can be read ({' '.join(str(error).split())}): get it again")


def _pair(file: Path, index: int, number: int, row: Mapping[str, Any]) -> PreferencePair | Dropped:
    where = f"{file}, row {number}"
    is_labelled = row.get("has_label") is not False  # without one, what label_0 and label_1 hold means nothing
    label, other = (preference(row.get(name), name, where) if is_labelled else None for name in ("label_0", "label_1"))
    if label is not None and other is not None and label + other != 1:
        return Dropped(index, "labels contradict each other")
    return pair(index, row["caption"], (_picture(row, 0, where), _picture(row, 1, where)), label)


def _picture(row: Mapping[str, Any], side: int, where: str) -> Picture | None:
    cell = row[f"jpg_{side}"]
    data = cell["bytes"] if isinstance(cell, Mapping) else cell
    return None if data is None else Picture(f"{where}, jpg_{side}", data, str(row.get(f"image_{side}_uid") or ""))
