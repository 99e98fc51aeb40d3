"""What every recipe does to know where its model stands: the benchmark, and the judges that watch."""

from functools import partial
from typing import Literal

from selfportrait import processes, stages, store, summary, watched
from selfportrait.benchmarks.base import Benchmark
from selfportrait.models.base import Draws

__all__ = ["measure"]


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
