"""Tables that grow part by part, with what was kept and dropped on the way counted beside each part.

Read this to see where the numbers of yield.json come from, which process makes which part of a table, and how a stage
that was cut off goes on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from selfportrait import processes, progress, store

__all__ = ["Yield", "add_up", "count", "own_missing", "read_counts", "reasons", "shared_out", "write_part"]

Yield = dict[str, Any]
"""By what was asked for, such as prompts or questions: {"kept": 25, "dropped": {"tie": 3}}, with numbers as leaves."""


def count(kept: int, dropped: Mapping[str, int] | None = None) -> Yield:
    """One entry of a yield; a reason that never came up is left out."""
    return {"kept": kept, "dropped": {reason: n for reason, n in (dropped or {}).items() if n}}


def add_up(several: Iterable[Mapping[str, Any]]) -> Yield:
    """Add the numbers of the same keys."""
    total: Yield = {}
    for one in several:
        for key, value in one.items():
            if isinstance(value, Mapping):
                total[key] = add_up([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return total


def reasons(dropped: Mapping[str, int]) -> str:
    """What was dropped, in words: "3 tie, 1 too few scores"."""
    return ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items())) or "nothing"


def own_missing(folder: Path, total: int) -> list[int]:
    """The parts of a table that are not there yet and that this process makes, which only their numbers decide."""
    return [index for index in processes.own(total) if not store.has_part(folder, index)]


@contextmanager
def shared_out(label: str, folder: Path, sizes: Sequence[int]) -> Iterator[Iterator[int]]:
    """Inside, the parts of a table that this process has to make, with a bar; after it every process has made its own.

    `sizes` are what each part of the whole table counts for in the bar.
    """
    missing = own_missing(folder, len(sizes))
    own, left = (sum(sizes[index] for index in parts) for parts in (processes.own(len(sizes)), missing))
    name = f"{label}, share {processes.index() + 1} of {processes.count()}" if processes.count() > 1 else label
    with progress.bar(name, total=own, done=own - left) as advance:
        yield _one_by_one(missing, sizes, advance)
    processes.wait()


def _one_by_one(missing: Sequence[int], sizes: Sequence[int], advance: progress.Advance) -> Iterator[int]:
    for index in missing:
        yield index
        advance(sizes[index])


def write_part(folder: Path, index: int, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, counts: Yield) -> None:
    """Write a part of a table, its counts first: a part that is there has them."""
    store.write_json(_counts(folder, index), counts)
    store.write_table(folder, index, rows, schema)


def read_counts(folder: Path) -> Yield:
    """The counts of all parts that are there, added up."""
    return add_up(store.read_json(_counts(folder, index)) for index in range(len(store.parts(folder))))


def _counts(folder: Path, index: int) -> Path:
    return folder / f"counts-{index:05d}.json"
