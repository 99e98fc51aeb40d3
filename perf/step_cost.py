"""What the recipe and the sampler cost beyond the network's own passes, as ratios within one run.

    python perf/step_cost.py [--model PATH] [--rows 8,32,128] [--repeats 15] [--only update|sample] [--clock cpu]

Each ratio is measured on neighbours in time, A B B A, and the median over repeats is taken, so that what else the
machine does cancels out; `--clock cpu` counts the process's own CPU seconds, for a machine that is busy (set
OMP_NUM_THREADS=1 with it: threads that wait count too). The exit code is 1 when a ratio is over its limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from common import BATCHES, bare_passes, load, make_groups, make_learner, pipeline, show, update, verdict

from selfportrait.models.sd3 import SD3
from selfportrait.recipes.gpo import Groups
from selfportrait.store import Run

UPDATE_LIMIT, SAMPLE_LIMIT = 1.10, 1.15

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Call = Callable[[], object]


class Cost(NamedTuple):
    """A measured thing, its bare counterpart (median seconds), and the median ratio with its quartiles."""

    name: str
    rows: int
    seconds: float
    bare_seconds: float
    ratio: float
    low: float
    high: float
    limit: float | None

    def cells(self) -> list[str]:
        """The row of the table."""
        spread = f"{self.low:.3f} to {self.high:.3f}"
        times = [f"{1000 * self.seconds:.1f}", f"{1000 * self.bare_seconds:.1f}"]
        limit = "-" if self.limit is None else f"{self.limit:.2f}"
        return [self.name, str(self.rows), *times, f"{self.ratio:.3f}", spread, limit, verdict(self.ratio, self.limit)]


def main() -> int:
    """Measure, print, and say by the exit code whether everything is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="a StableDiffusion3Pipeline; default: the embedded architecture, random weights"
    )
    parser.add_argument("--rows", default=",".join(map(str, BATCHES)), help="batch sizes")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", choices=["update", "sample"])
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    arguments = parser.parse_args()
    with pipeline(arguments.model) as path:
        costs = measure(path, arguments)
    settings = f"{arguments.repeats} repeats, {torch.get_num_threads()} threads, torch {torch.__version__}"
    show(
        f"{arguments.clock} time, {settings}",
        ["what", "rows", "ms", "bare ms", "ratio", "middle half", "limit", ""],
        [cost.cells() for cost in costs],
    )
    return int(any(cost.limit is not None and cost.ratio > cost.limit for cost in costs))


def measure(path: str, arguments: argparse.Namespace) -> list[Cost]:
    """Everything that was asked for."""
    sizes = [int(size) for size in arguments.rows.split(",")]
    meter = Meter(arguments.repeats, CLOCKS[arguments.clock])
    costs: list[Cost] = []
    if arguments.only != "sample":
        for train in ("full", "lora"):
            costs += measure_updates(load(path, train=train), train, sizes, meter)
    if arguments.only != "update":
        costs += measure_sampling(load(path, train="full"), sizes, meter)
    return costs


def measure_updates(model: SD3, train: str, sizes: list[int], meter: "Meter") -> list[Cost]:
    """One GPO update (k = 5 draws, one optimizer step) against k bare forward and backward passes."""
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            groups = make_groups(model, rows)
            bare = bare_passes(model, groups)
            for ema in (False, True):
                call = update(make_learner(model, ema=ema), groups, Run(folder))
                name = f"update, {train}{', EMA' if ema else ''}"
                costs.append(meter.compare(name, rows, call, bare, UPDATE_LIMIT))
    return costs


@torch.no_grad()
def measure_sampling(model: SD3, sizes: list[int], meter: "Meter") -> list[Cost]:
    """Sampling against the forwards it consists of; decoding the pictures is shown beside it."""
    costs = []
    for rows in sizes:
        groups = make_groups(model, rows)
        conditioning = groups.conditioning.repeat(rows // len(groups.prompts))
        bare = bare_forwards(model, groups)
        draw = partial(model._sample_latents, conditioning, list(range(rows)))
        costs.append(meter.compare("sample, latents", rows, draw, bare, SAMPLE_LIMIT))
        whole = partial(model.sample, conditioning, list(range(rows)))
        costs.append(meter.compare("sample, with pictures", rows, whole, bare_with_decoder(model, groups), None))
        costs.append(meter.compare("decode alone", rows, partial(model.decode, groups.latents), bare, None))
    return costs


def bare_forwards(model: SD3, groups: Groups) -> Call:
    """The sampler's forwards of the network: one a step, on twice the rows for guidance."""
    rows, num_prompts = len(groups.latents), len(groups.prompts)
    context, pooled = groups.conditioning.repeat(2 * rows // num_prompts)
    noisy = torch.randn_like(groups.latents).repeat(2, 1, 1, 1)
    timestep = torch.full((2 * rows,), 500.0, device=model.device)

    def forwards() -> None:
        for _ in range(model.num_inference_steps):
            model.transformer(noisy, context, pooled, timestep, return_dict=False)

    return forwards


def bare_with_decoder(model: SD3, groups: Groups) -> Call:
    """The same forwards and one of the autoencoder's decoder."""
    forwards = bare_forwards(model, groups)

    def run() -> None:
        forwards()
        model.pipeline.vae.decode(groups.latents, return_dict=False)

    return run


class Meter(NamedTuple):
    """How often to measure, and by which clock."""

    repeats: int
    clock: Callable[[], float]

    def compare(self, name: str, rows: int, call: Call, bare: Call, limit: float | None) -> Cost:
        """Time two calls in turn, A B B A A B B A ..., and compare neighbours."""
        self.seconds(call), self.seconds(bare)  # warm up
        pairs = [
            self.pair(call, bare) if index % 2 == 0 else self.pair(bare, call)[::-1] for index in range(self.repeats)
        ]
        low, ratio, high = statistics.quantiles([ours / theirs for ours, theirs in pairs], n=4, method="inclusive")
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{name}, {rows} rows: {ratio:.3f} ({low:.3f} to {high:.3f})", file=sys.stderr)
        return Cost(name, rows, ours, theirs, ratio, low, high, limit)

    def pair(self, first: Call, second: Call) -> tuple[float, float]:
        """The seconds of two calls, one right after the other."""
        return self.seconds(first), self.seconds(second)

    def seconds(self, call: Call) -> float:
        """How long a call takes, to the end of what it started on a GPU."""
        synchronize()
        start = self.clock()
        call()
        synchronize()
        return self.clock() - start


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
