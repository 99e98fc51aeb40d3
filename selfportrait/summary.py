"""summary.json: what a run came to, before and after, and what it cost.

Read this to see where each number of the report comes from.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from selfportrait import store
from selfportrait.benchmarks.base import aggregate, compare
from selfportrait.stages import verdicts

__all__ = ["stage", "write"]


@contextmanager
def stage(run: store.Run, name: str) -> Iterator[None]:
    """Add the seconds spent inside to the stage's; a run that was killed and resumed has several entries a stage."""
    start = time.perf_counter()
    yield
    store.append_jsonl(run.path("stages.jsonl"), {"stage": name, "seconds": time.perf_counter() - start})


def write(run: store.Run, round_name: str) -> dict[str, Any]:
    """Write summary.json from the tables of a finished run, and each evaluation's map beside its tables."""
    folder = run.path(round_name, "evaluation")
    rows = {name: verdicts(folder / name) for name in ("before", "after")}
    maps = {name: aggregate(several) for name, several in rows.items()}
    for name, values in maps.items():
        store.write_json(folder / f"{name}.json", values)
    changes = compare(rows["before"], rows["after"])
    lines = store.read_jsonl(run.path(round_name, "training", "metrics.jsonl"))
    result = {
        **maps,
        "change": {
            category: {**change._asdict(), "pass_at_4_difference": _pass_difference(maps, category)}
            for category, change in changes.items()
        },
        "time_s": _seconds(run, round_name),
        "peak_memory_mb": peak_memory_mb(),
        "health": [event for line in lines for event in line.get("events", [])],
    }
    store.write_json(run.path("summary.json"), result)
    return result


def _pass_difference(maps: dict[str, Any], category: str) -> float | None:
    before, after = (maps[name][category]["pass_at_4"] for name in ("before", "after"))
    return None if before is None or after is None else after - before


def _seconds(run: store.Run, round_name: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for record in store.read_jsonl(run.path("stages.jsonl")):
        totals[record["stage"]] = totals.get(record["stage"], 0.0) + record["seconds"]
    for record in store.read_jsonl(run.path(round_name, "training", "timing.jsonl")):
        for name in ("sample", "judge", "train"):
            totals[name] = totals.get(name, 0.0) + record.get(f"{name}_s", 0.0)
    return {name: round(seconds, 2) for name, seconds in totals.items()}


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, on the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
