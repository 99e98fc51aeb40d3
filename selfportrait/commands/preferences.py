"""`selfportrait pairs`: a dataset of preference pairs read from end to end, and a run's pairs as one of Pick-a-Pic's.

Read this to see which of Pick-a-Pic's columns an exported file has, and what is in them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfportrait import components, progress, store
from selfportrait.preferences.base import PreferenceSource, Reading
from selfportrait.seeds import derive
from selfportrait.types import PreferencePair

__all__ = ["check", "export"]

ROWS_PER_GROUP = 64  # what a reader holds of the file, and reads before its row where it begins in the middle


def check(source: PreferenceSource, *, decode: bool) -> dict[str, Any]:
    """Read every row; returns what was kept and dropped, by reason."""
    reading, done = Reading(source), 0
    pairs = (decoded.pair for decoded in reading.decoded()) if decode else reading
    with progress.bar("reading pairs", total=source.num_rows) as advance:
        for pair in pairs:
            advance(pair.index + 1 - done)
            done = pair.index + 1
    return reading.counts


def export(run: Path, out: Path, *, rounds: Sequence[int], is_plain: bool) -> dict[str, Any]:
    """Write the pairs of a run into a new Parquet file, whole or not at all; returns what was kept and dropped."""
    if out.suffix != ".parquet":
        raise ValueError(f"{out} is no .parquet file: give the name of one")
    if out.exists():
        raise ValueError(f"{out} is there already: give another file")
    reading = Reading(components.find("preferences", "run")(path=str(run), rounds=tuple(rounds)))
    schema = _schema(pa.binary() if is_plain else store.IMAGE)
    with store.writing(out) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
        rows = _rows(reading, is_plain)
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    return reading.counts


def _schema(picture: pa.DataType) -> pa.Schema:
    return store.schema(
        {
            "are_different": pa.bool_(),
            "best_image_uid": pa.string(),
            "caption": pa.string(),
            "has_label": pa.bool_(),
            "image_0_uid": pa.string(),
            "image_1_uid": pa.string(),
            "jpg_0": picture,
            "jpg_1": picture,
            "label_0": pa.float64(),
            "label_1": pa.float64(),
            "ranking_id": pa.int64(),
        }
    )


def _rows(pairs: Iterator[PreferencePair], is_plain: bool) -> Iterator[dict[str, Any]]:
    """Pairs as rows; which side the chosen picture is on follows from the pair's id, so that it tells nothing."""
    for number, pair in enumerate(pairs):
        is_first = derive(pair.id, "export") % 2 == 0
        first, second = (pair.chosen, pair.rejected) if is_first else (pair.rejected, pair.chosen)
        cells = [one.data() if is_plain else {"bytes": one.data(), "path": None} for one in (first, second)]
        yield {
            "are_different": True,
            "best_image_uid": pair.chosen.key,
            "caption": pair.prompt,
            "has_label": True,
            "image_0_uid": first.key,
            "image_1_uid": second.key,
            "jpg_0": cells[0],
            "jpg_1": cells[1],
            "label_0": float(is_first),
            "label_1": float(not is_first),
            "ranking_id": number,
        }
