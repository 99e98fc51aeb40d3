"""`selfportrait scores`: what a table of scores says as a whole, however long it is.

Read this to see what is held in memory: one batch of rows, and a few numbers a judge.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.table import Table
from rich.text import Text

from selfportrait import store

__all__ = ["Totals", "summarise", "table"]

ROWS_AT_ONCE = 16_384
_COLUMNS = ["judge", "value", "details"]
SEVERAL = "Weighted"  # the judge whose details hold other judges' scores


class Totals(NamedTuple):
    """Of one judge: how many rows, how many of them missing, and of the others mean, standard deviation and range.

    The numbers are None where every score is missing; the deviation is that of the population.
    """

    rows: int = 0
    missing: int = 0
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    def and_these(self, values: np.ndarray, missing: int) -> "Totals":
        """The totals with more values (N,), merged as in Chan, Golub and LeVeque (1979)."""
        if len(values) == 0:
            return self._replace(rows=self.rows + missing, missing=self.missing + missing)
        known, more = self.rows - self.missing, len(values)
        both, mean = known + more, float(values.mean())
        before = self.mean if self.mean is not None else mean
        squares = known * (self.std or 0.0) ** 2 + float(np.square(values - mean).sum())
        squares += (mean - before) ** 2 * known * more / both
        lows, highs = ([one] if one is not None else [] for one in (self.low, self.high))
        return Totals(
            self.rows + more + missing,
            self.missing + missing,
            before + (mean - before) * more / both,
            math.sqrt(squares / both),
            min([*lows, float(values.min())]),
            max([*highs, float(values.max())]),
        )


def summarise(folder: Path) -> dict[str, Totals]:
    """The totals of each judge of a table, read a batch of rows at a time.

    Raises FileNotFoundError where there is no table, ValueError where a part is corrupt or holds no scores.
    """
    paths = store.parts(folder)
    if not paths:
        raise FileNotFoundError(f"There is no table in {folder}: expected part-*.parquet, such as a run's scores/")
    totals: dict[str, Totals] = {}
    for path in paths:
        for batch in _batches(path):
            for name, values in _by_judge(batch):
                known = values[np.isfinite(values)]
                totals[name] = totals.get(name, Totals()).and_these(known, len(values) - len(known))
    return totals


def _by_judge(batch: pa.RecordBatch) -> Iterator[tuple[str, np.ndarray]]:
    """The scores of each judge of a batch, and of those inside it; a missing one is NaN."""
    values = batch.column("value").to_numpy(zero_copy_only=False).astype(np.float64)
    judges = batch.column("judge").dictionary_encode()
    numbers = judges.indices.to_numpy()
    for number, name in enumerate(judges.dictionary.to_pylist()):
        yield name, values[numbers == number]
        if name == SEVERAL:
            yield from _inside(batch.column("details").take(np.flatnonzero(numbers == number)).to_pylist())


def _inside(details: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The scores of the parts of a weighted judge, and of those that only watch."""
    found: dict[str, list[float]] = {}
    for one in map(json.loads, details):
        for kind in ("parts", "watch"):
            for name, said in one.get(kind, {}).items():
                value = math.nan if said["score"] is None else said["score"]
                found.setdefault(f"{SEVERAL}, {kind}: {name}", []).append(value)
    yield from ((name, np.array(values)) for name, values in found.items())


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file:
        try:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            if not set(_COLUMNS) <= set(parquet.schema_arrow.names):
                raise ValueError(f"{path} is no table of scores: it has no columns {', '.join(_COLUMNS)}")
            yield from parquet.iter_batches(ROWS_AT_ONCE, columns=_COLUMNS)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is corrupt ({' '.join(str(error).split())}): delete it, and judge again"
            ) from error


def table(totals: dict[str, Totals]) -> Table:
    """Lay out totals: a judge a row."""
    laid_out = Table(box=box.SIMPLE_HEAD)
    for name in ("judge", "scores", "missing", "mean", "std", "min", "max"):
        laid_out.add_column(name, justify="left" if name == "judge" else "right")
    for judge, one in sorted(totals.items()):
        numbers = ("-" if value is None else f"{value:.4f}" for value in one[2:])
        laid_out.add_row(Text(judge), str(one.rows), str(one.missing), *numbers)
    return laid_out
