"""summary.json: what a run came to, before and after, and what it cost.

Read this to see where each number of the report comes from.
"""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from selfportrait import by_step, processes, store, watched
from selfportrait.benchmarks.base import Summary, aggregate, compare
from selfportrait.stages import verdicts

__all__ = ["stage", "write"]


@contextmanager
def stage(run: store.Run, name: str) -> Iterator[None]:
    """Add the seconds spent inside to the stage's; a run that was killed and resumed has several entries a stage."""
    start = time.perf_counter()
    yield
    if processes.is_main():
        store.append_jsonl(run.path("stages.jsonl"), {"stage": name, "seconds": time.perf_counter() - start})


def write(run: store.Run, rounds: int = 1) -> dict[str, Any]:
    """Write summary.json from the tables of a finished run, and each evaluation's map beside its tables.

    `change` compares the last round with the base model, `round_changes` each round with the one before it; `watch` is
    there where judges watched, `by_step` where the model was measured during training too.
    """
    folders = [run.path("round-0", "evaluation", "before")]
    folders += [run.path(f"round-{index}", "evaluation", "after") for index in range(rounds)]
    measured = [_measured(folder) for folder in folders]
    result = {
        "before": measured[0].summary,
        "after": measured[-1].summary,
        "rounds": [one.summary for one in measured[1:]],
        "change": _change(measured[0], measured[-1]),
        "round_changes": [_change(earlier, later) for earlier, later in pairwise(measured)],
        **({"by_step": curve} if (curve := by_step.read(run.folder)) else {}),
        **({"watch": seen} if (seen := watched.read(run.folder, rounds)) else {}),
        "time_s": _seconds(run, rounds),
        "peak_memory_mb": peak_memory_mb(),
        "health": [event for index in range(rounds) for event in _health(run, index, is_only=rounds == 1)],
    }
    store.write_json(run.path("summary.json"), result)
    return result


class _Measured(NamedTuple):
    """The verdicts of an evaluation, and the map of its categories."""

    rows: list[Mapping[str, Any]]
    summary: dict[str, Summary]


def _measured(folder: Path) -> _Measured:
    rows = verdicts(folder)
    summary = aggregate(rows)
    store.write_json(folder.with_suffix(".json"), summary)
    return _Measured(rows, summary)


def _change(before: _Measured, after: _Measured) -> dict[str, Any]:
    maps = {"before": before.summary, "after": after.summary}
    return {
        category: {**change._asdict(), "pass_at_4_difference": _pass_difference(maps, category)}
        for category, change in compare(before.rows, after.rows).items()
    }


def _pass_difference(maps: dict[str, Any], category: str) -> float | None:
    before, after = (maps[name][category]["pass_at_4"] for name in ("before", "after"))
    return None if before is None or after is None else after - before


def _health(run: store.Run, index: int, *, is_only: bool) -> list[dict[str, Any]]:
    """The warning of a round's self-judge, and the events of its training; they name the round where there are more."""
    file = run.path(f"round-{index}", "calibration.json")
    warning = store.read_json(file)["warning"] if file.exists() else None
    events = [{"name": "self_judge", "message": warning}] if warning else []
    for line in store.read_jsonl(run.path(f"round-{index}", "training", "metrics.jsonl")):
        events += line.get("events", [])
    return events if is_only else [{"round": index, **event} for event in events]


def _seconds(run: store.Run, rounds: int) -> dict[str, float]:
    totals: dict[str, float] = {}
    for record in store.read_jsonl(run.path("stages.jsonl")):
        totals[record["stage"]] = totals.get(record["stage"], 0.0) + record["seconds"]
    for index in range(rounds):
        for record in store.read_jsonl(run.path(f"round-{index}", "training", "timing.jsonl")):
            for name in (key.removesuffix("_s") for key in record if key.endswith("_s")):
                totals[name] = totals.get(name, 0.0) + record[f"{name}_s"]
    return {name: round(seconds, 2) for name, seconds in totals.items()}


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, on the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
