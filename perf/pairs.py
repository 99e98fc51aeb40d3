"""Reading preference pairs from Parquet in Pick-a-Pic's columns: rows a second, and whether memory stays constant.

    python perf/pairs.py [--rows 100000] [--picture-bytes 2000] [--rows-per-group 1000] [--repeats 3]

The file is generated in parts: rows of prompts, labels and small pictures that are noise, as nothing is decoded. Ours
is compared with iterating over the same columns with pyarrow alone, batch by batch, with every cell made a Python
object. Peak memory is the resident set above what it was before reading, of a tenth of the rows and of all, each in a
process of its own. A reader has to hold a page of each column, and pyarrow writes up to 1024 rows into a page, so files
of large pictures want small row groups. The exit code is 1 when something is over its limit.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import show
from memory import peak, start_watching

from selfportrait.preferences.base import Reading
from selfportrait.preferences.pick_a_pic import PickAPic

LEAST_ROWS_A_SECOND = 2000
MOST_GROWTH = 16 * 2**20  # bytes of peak memory from a tenth of the rows to all of them
ROWS_PER_PART = 10_000


def main() -> int:
    """Measure, print, and say by the exit code whether everything is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--picture-bytes", type=int, default=2_000)
    parser.add_argument("--rows-per-group", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        before = start_watching()
        ours(arguments.child, arguments.rows)
        print(peak() - before)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.rows, arguments.picture_bytes, arguments.rows_per_group)
        sizes = [arguments.rows // 10, arguments.rows]
        peaks = [in_process(folder, size) for size in sizes]
        pairs = [
            (seconds(ours, folder, arguments.rows), seconds(bare, folder, arguments.rows))
            for _ in range(arguments.repeats)
        ]
        last = seconds(lambda path, rows: next(Reading(PickAPic(path=path), start=rows - 1)), folder, arguments.rows)
    speed = arguments.rows / statistics.median(mine[0] for mine, _ in pairs)
    growth = peaks[1] - peaks[0]
    ratio = statistics.median(mine[1] / theirs[1] for mine, theirs in pairs)
    show(
        f"{arguments.rows} rows, two pictures of {arguments.picture_bytes} bytes each",
        ["what", "measured", "limit", ""],
        [
            ["rows a second", f"{speed:.0f}", f"at least {LEAST_ROWS_A_SECOND}", said(speed >= LEAST_ROWS_A_SECOND)],
            ["CPU time over bare pyarrow", f"{ratio:.2f}", "-", "-"],
            *(
                [f"peak memory, {size} rows", f"{bytes_ / 2**20:.1f} MiB", "-", "-"]
                for size, bytes_ in zip(sizes, peaks, strict=True)
            ),
            ["growth", f"{growth / 2**20:.1f} MiB", f"{MOST_GROWTH / 2**20:.0f} MiB", said(growth <= MOST_GROWTH)],
            ["first pair from the last row", f"{1000 * last[0]:.0f} ms", "-", "-"],
        ],
    )
    return int(speed < LEAST_ROWS_A_SECOND or growth > MOST_GROWTH)


def write(folder: Path, rows: int, picture_bytes: int, rows_per_group: int) -> None:
    """Parts of a dataset; a tenth of the rows are ties."""
    chance = np.random.default_rng(0)
    for part, start in enumerate(range(0, rows, ROWS_PER_PART)):
        numbers = range(start, min(start + ROWS_PER_PART, rows))
        labels = [0.5 if number % 10 == 0 else float(number % 2) for number in numbers]
        columns = {
            "caption": [f"a picture of {number} circles and a square" for number in numbers],
            "has_label": [True] * len(numbers),
            "jpg_0": [chance.bytes(picture_bytes) for _ in numbers],
            "jpg_1": [chance.bytes(picture_bytes) for _ in numbers],
            "label_0": labels,
            "label_1": [1 - label for label in labels],
            "image_0_uid": [f"{number:032x}-0" for number in numbers],
            "image_1_uid": [f"{number:032x}-1" for number in numbers],
        }
        pq.write_table(pa.table(columns), folder / f"part-{part:05d}.parquet", row_group_size=rows_per_group)


def ours(folder: str, rows: int) -> None:
    """Read the pairs of so many rows and count what they are."""
    reading = Reading(PickAPic(path=folder, limit=rows))
    kept = sum(1 for _ in reading)
    assert reading.counts == {"kept": kept, "dropped": {"tie": rows - kept}}


def bare(folder: str, rows: int) -> None:
    """Make Python objects of the same columns and do nothing with them."""
    seen = 0
    for file in sorted(Path(folder).iterdir()):
        for batch in pq.ParquetFile(file).iter_batches(32):
            seen += len(batch.to_pylist())
    assert seen == rows


def seconds(call: Callable[[str, int], object], folder: str, rows: int) -> tuple[float, float]:
    """Wall time, and CPU time, which another's work on the same cores changes little."""
    start, cpu = time.perf_counter(), time.process_time()
    call(folder, rows)
    return time.perf_counter() - start, time.process_time() - cpu


def in_process(folder: str, rows: int) -> int:
    """The peak of reading so many rows, in bytes."""
    command = [sys.executable, __file__, "--child", folder, "--rows", str(rows)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def said(is_within: bool) -> str:
    """Say whether a number is within its limit."""
    return "[green]PASS[/]" if is_within else "[red]missed[/]"


if __name__ == "__main__":
    sys.exit(main())
