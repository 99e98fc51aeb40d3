"""Preference pairs that a run of our own has chosen, with the pictures it drew and what it drew them from.

Read this to learn where a run's pairs are, and why a model need not encode its own pictures again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import torch

from selfportrait import store
from selfportrait.preferences._pairs import Limit, pair
from selfportrait.preferences.base import Dropped, Reading
from selfportrait.types import Picture, PreferencePair

__all__ = ["Run"]

_CONTENTS = ("latent", "tokens")
_Index = Annotated[int, pydantic.Field(ge=0)]
_PAIR = ("prompt", "chosen_id", "rejected_id")


class Run:
    """Read the preference pairs of a run folder, those of all its rounds or of some.

    A picture keeps the latent or the tokens that candidates/ holds of it, and the path of the model that the run began
    with, to which they belong. One part of a table is held at a time. Pictures are known by what is in them, so that
    runs can be mixed.
    """

    def __init__(self, *, path: str, rounds: tuple[_Index, ...] = (), limit: Limit = None) -> None:
        self.path = Path(path)
        run = store.Run.read(path)
        model = run.config.get("settings", {}).get("model") or {}
        self._model = str(model.get("path", ""))
        self._parts = [part for folder in _rounds(self.path, rounds) for part in _parts(folder)]
        self._limit = limit
        if not self._parts:
            raise FileNotFoundError(f"{path} has no pairs: run selfportrait stage pair or selfportrait improve first")

    @property
    def num_rows(self) -> int:
        total = sum(part.num_rows for part in self._parts)
        return total if self._limit is None else min(total, self._limit)

    def __iter__(self) -> Reading:
        return Reading(self)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        last, first = self.num_rows if stop is None else min(stop, self.num_rows), 0
        for part in self._parts:
            following = first + part.num_rows
            if max(start, first) < min(last, following):
                yield from self._of_part(part, first, max(start - first, 0), last - first)
            first = following

    def _of_part(self, part: "_Part", first: int, start: int, stop: int) -> Iterator[PreferencePair | Dropped]:
        chosen = store.read_part(part.folder / "preferences", part.index, _PAIR).slice(start, stop - start).to_pylist()
        ids = {row[name] for row in chosen for name in ("chosen_id", "rejected_id")}
        pictures = _pictures(part, ids, self._model)
        for index, row in enumerate(chosen, start=first + start):
            both = (pictures[row["chosen_id"]], pictures[row["rejected_id"]])
            yield pair(index, row["prompt"], both, 1.0)


@dataclass(frozen=True)
class _Part:
    """One part of a round's pairs; the part of candidates/ with the same number has their pictures."""

    folder: Path
    index: int
    num_rows: int


def _rounds(path: Path, wanted: tuple[int, ...]) -> list[Path]:
    found = {int(folder.name.removeprefix("round-")): folder for folder in path.glob("round-*") if folder.is_dir()}
    unknown = [index for index in wanted if index not in found]
    if unknown:
        raise ValueError(f"preferences.rounds: {path} has no round {unknown[0]}; it has {sorted(found) or 'none'}")
    return [found[index] for index in (wanted or sorted(found))]


def _parts(folder: Path) -> list[_Part]:
    files = store.parts(folder / "preferences")
    return [_Part(folder, int(file.stem.removeprefix("part-")), _num_rows(file)) for file in files]


def _num_rows(file: Path) -> int:
    with file.open("rb") as opened:
        try:
            parquet = pq.ParquetFile(opened)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file} is corrupt ({error}): delete it, the stage will redo it") from error
        names = parquet.schema_arrow.names
    if any(name not in names for name in _PAIR):
        raise ValueError(f"{file} holds groups, not pairs (its columns are {', '.join(names)}): give a run with pairs")
    return int(parquet.metadata.num_rows)


def _pictures(part: _Part, ids: set[str], model: str) -> dict[str, Picture | None]:
    """The pictures of some candidates of a part, by their ids."""
    table = part.folder / "candidates"
    rows = store.read_part(table, part.index, ["id", "image", *_CONTENTS])
    found: dict[str, Picture | None] = {}
    for number, id in enumerate(rows["id"].to_pylist()):
        if id in ids:
            found[id] = _picture(rows, number, f"{table}, part {part.index}, candidate {id}", model)
    missing = sorted(ids - found.keys())
    if missing:
        raise ValueError(f"{table}, part {part.index} has no candidate {missing[0]}, which is in a pair: make it again")
    return found


def _picture(rows: pa.Table, number: int, where: str, model: str) -> Picture | None:
    data = (rows["image"][number].as_py() or {}).get("bytes")
    if not data:
        return None
    content = next((_tensor(rows[name][number]) for name in _CONTENTS if rows[name][number].is_valid), None)
    return Picture(where, data, hashlib.sha256(data).hexdigest(), content, "" if content is None else model)


def _tensor(cell: Any) -> torch.Tensor:
    """Latents (N,) or image tokens (T,), in an array of its own."""
    return torch.from_numpy(cell.values.to_numpy(zero_copy_only=False).copy())
