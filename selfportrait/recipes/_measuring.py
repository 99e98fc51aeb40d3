"""What recipes do to know where their model stands: the benchmark, and the judges that watch."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal

from selfportrait import processes, stages, store, summary, watched
from selfportrait.benchmarks.base import OVERALL, Benchmark
from selfportrait.models.base import Draws
from selfportrait.report.units import unit_of

__all__ = ["measure", "measure_between"]

log = logging.getLogger(__name__)


def measure(
    model: Draws,
    benchmark: Benchmark,
    watchers: stages.Watch,
    run: store.Run,
    when: Literal["before", "after"],
    *,
    label: str,
    index: int = 0,
) -> None:
    """Measure the model before training or after a round; whoever watches looks at the same pictures."""
    at = stages.Round(run.path(f"round-{index}"))
    with summary.stage(run, f"evaluate {when}"):
        stages.evaluate(model, benchmark, at.evaluation(when), label=label)
    if not watchers:
        return
    with summary.stage(run, "watch"):
        stages.watch(watchers, benchmark, at.evaluation(when), at.watch(when))
    if when == "after":
        processes.by_main(partial(watched.note, run.folder, index))


def measure_between(
    whole: Callable[[], AbstractContextManager[None]], model: Draws, benchmark: Benchmark, run: store.Run, step: int
) -> None:
    """Measure the model after so many updates of its training, in one round, where it is `whole`; nobody watches."""
    folder = stages.Round(run.path("round-0")).evaluation_at(step)
    with summary.stage(run, "evaluate during training"), whole():
        found = stages.evaluate(model, benchmark, folder, label=f"measuring step {step}")[OVERALL]
    unit = unit_of(found)
    low, high = unit.value(found["low"]), unit.value(found["high"])
    log.info("step %d: %s %s (%s to %s)", step, unit.name, unit.value(found["accuracy"]), low, high)
