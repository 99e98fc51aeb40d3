"""What a published benchmark's verdicts come to: a number a category with its interval, who judged, and how many.

Read this to see what stands in a row of `selfportrait evaluate`, and over what two evaluations are compared. The
benchmarks of one's own (`micro`, `prompts`, `self_judged`) are summed up by `benchmarks.base.aggregate` instead.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypedDict, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfportrait.benchmarks.base import OVERALL, RESAMPLES, Row, interval, passes_at, resampled_ratio, worth
from selfportrait.types import Prompt

__all__ = [
    "OFFICIAL",
    "Entry",
    "Layout",
    "Measure",
    "Measured",
    "Metric",
    "PairedDifference",
    "Published",
    "Summed",
    "differences",
    "entries_of_pictures",
    "no_extras",
    "summarise",
]

OFFICIAL = "official"
PASSES = (1, 2, 4, 8, 10)
Array = NDArray[np.float64]
Rows = Iterable[Mapping[str, Any]]


class Metric(NamedTuple):
    """What a benchmark's numbers are; published ones are `scale` times ours."""

    name: str
    overall: Literal["mean of categories", "mean over prompts"] | None
    scale: float = 1.0


class Entry(NamedTuple):
    """One number that a category's mean is over, such as a picture's verdict or the answer to a question."""

    category: str
    prompt_id: str
    value: bool | float | None


class Measure(TypedDict):
    """One category; value and interval are None where nothing of it was judged.

    `n` of `expected` numbers were judged, on `prompts` prompts. `pass_at` has pass@k by k, empty where there are only
    scores or too few pictures. `protocol` is "official", or says whose verdicts stand in for the official ones.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    expected: int
    missing: int
    prompts: int
    pass_at: dict[str, float]
    protocol: str


class Measured(TypedDict):
    """What came of a benchmark; overall is None where the benchmark publishes none.

    `protocol` names all who judged, for the `extra` numbers, which may be of several categories.
    """

    metric: str
    scale: float
    overall_is: str | None
    categories: dict[str, Measure]
    overall: Measure | None
    protocol: str
    extra: dict[str, float]


class PairedDifference(NamedTuple):
    """Mean of after - before over the same prompts with its interval, and the share of prompts won, ties half."""

    difference: float
    low: float
    high: float
    win_rate: float
    prompts: int


class Summed(Protocol):
    """How a benchmark sums its verdicts up, from the rows of its table alone."""

    metric: ClassVar[Metric]

    @staticmethod
    def entries(rows: Rows) -> Iterator[Entry]:
        """Yield what each category's mean is over; entries of "overall" where the overall number is over prompts."""
        ...

    @staticmethod
    def extras(rows: Rows) -> dict[str, float]:
        """Further published numbers, by name."""
        ...


@runtime_checkable
class Published(Summed, Protocol):
    """A published benchmark, beside what `benchmarks.base.Benchmark` says."""

    def protocol(self, category: str) -> str:
        """Who judges a category: "official", or "approx:" and whose verdicts stand in for the official scorer's."""
        ...

    def ready(self) -> None:
        """Build what judges, without weights; raises ValueError where there is no such judge or setting."""
        ...


@runtime_checkable
class Layout(Protocol):
    """The folders and names in which the official scorer expects the pictures."""

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """The files of one prompt by their path in the folder."""
        ...

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """The files that are there once."""
        ...

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture of a prompt; the same one several times where one file holds them as a grid."""
        ...


def entries_of_pictures(rows: Rows) -> Iterator[Entry]:
    """One entry a picture, in its prompt's category."""
    for row in rows:
        yield Entry(row["category"], row["prompt_id"], worth(row))


def no_extras(_: Rows) -> dict[str, float]:
    """Nothing more than the categories."""
    return {}


def summarise(
    benchmark: Summed | type[Summed],
    rows: Iterable[Row] | Rows,
    protocol: Callable[[str], str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """Sum up verdicts: by category the mean of its entries, bounded by resampling the prompts.

    The overall number is what the benchmark publishes: the unweighted mean of the categories (a stratified bootstrap),
    or the mean over prompts of each prompt's mean. A missing entry is left out and counted. Raises ValueError without
    rows.
    """
    rows = list(cast(Rows, rows))
    if not rows:
        raise ValueError("there is no verdict to summarise: the benchmark judged no picture; check its prompts")
    grouped = _grouped(benchmark.entries(rows))
    over_prompts = grouped.pop(OVERALL, {})
    categories: dict[str, Measure] = {}
    resampled: list[Array] = []
    for category, prompts in grouped.items():
        found, ratios = _measure(category, prompts, protocol(category), resamples, seed)
        categories[category] = found
        if ratios is not None:
            resampled.append(ratios)
    overall: Measure | None = None
    if benchmark.metric.overall == "mean of categories":
        overall = _mean_of(list(categories.values()), resampled)
    elif benchmark.metric.overall == "mean over prompts":
        by_prompt = {prompt: [_mean(values)] for prompt, values in over_prompts.items()}
        overall = _measure(OVERALL, by_prompt, _together(categories, protocol), resamples, seed)[0]
        overall |= cast(Measure, _counts(over_prompts))
    metric = benchmark.metric
    return Measured(
        metric=metric.name,
        scale=metric.scale,
        overall_is=metric.overall,
        categories=categories,
        overall=overall,
        protocol=_together(categories, protocol),
        extra=benchmark.extras(rows),
    )


def differences(
    benchmark: Summed | type[Summed], before: Rows, after: Rows, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, PairedDifference]:
    """Bound how much each category rose from one evaluation to another, paired by prompt; "overall" where there is one.

    A prompt that is missing on one side is left out; a category without any pair is not there. Raises ValueError
    where the prompts or categories are not the same.
    """
    sides = [_grouped(benchmark.entries(list(rows))) for rows in (before, after)]
    if {name: list(prompts) for name, prompts in sides[0].items()} != {n: list(p) for n, p in sides[1].items()}:
        raise ValueError("only the same prompts can be compared: measure both with the same benchmark settings")
    found: dict[str, PairedDifference] = {}
    resampled: list[Array] = []
    for category, prompts in sides[0].items():
        pairs = [(_mean(values), _mean(sides[1][category][prompt])) for prompt, values in prompts.items()]
        judged = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)  # (N, 2)
        if not len(judged):
            continue
        change = judged[:, 1] - judged[:, 0]
        means = resampled_ratio(change, np.ones_like(change), (seed, *category.encode()), resamples)
        found[category] = PairedDifference(float(change.mean()), *interval(means), _win_rate(change), len(change))
        resampled.append(means)
    if benchmark.metric.overall == "mean of categories" and found:
        sizes = [one.prompts for one in found.values()]
        mean = sum(one.difference for one in found.values()) / len(found)
        won = sum(one.win_rate * one.prompts for one in found.values()) / sum(sizes)
        low, high = interval(np.mean(resampled, axis=0))
        found[OVERALL] = PairedDifference(mean, low, high, won, sum(sizes))
    return dict(sorted(found.items(), key=lambda item: item[0] == OVERALL))


def _win_rate(change: Array) -> float:
    return float(((np.sign(change) + 1) / 2).mean())


def _grouped(entries: Iterable[Entry]) -> dict[str, dict[str, list[bool | float | None]]]:
    """By category, in the order they come, and prompt, sorted, so that the order of the prompts does not matter."""
    grouped: dict[str, dict[str, list[bool | float | None]]] = {}
    for category, prompt_id, value in entries:
        grouped.setdefault(category, {}).setdefault(prompt_id, []).append(value)
    return {category: dict(sorted(prompts.items())) for category, prompts in grouped.items()}


def _measure(
    category: str, prompts: Mapping[str, list[Any]], protocol: str, resamples: int, seed: int
) -> tuple[Measure, Array | None]:
    """A category and its resampled means (R,), None where nothing was judged."""
    judged = [kept for values in prompts.values() if (kept := [value for value in values if value is not None])]
    found = Measure(value=None, low=None, high=None, pass_at={}, protocol=protocol, **_counts(prompts))  # type: ignore[typeddict-item]
    if not judged:
        return found, None
    total = np.array([sum(values) for values in judged], dtype=np.float64)  # (N,)
    count = np.array([len(values) for values in judged], dtype=np.float64)  # (N,)
    ratios = resampled_ratio(total, count, (seed, *category.encode()), resamples)
    found["value"] = float(total.sum() / count.sum())
    found["low"], found["high"] = interval(ratios)
    found["pass_at"] = {str(k): sum(passed) / len(passed) for k in PASSES if (passed := passes_at(judged, k))}
    return found, ratios


def _counts(prompts: Mapping[str, list[Any]]) -> dict[str, int]:
    expected = sum(map(len, prompts.values()))
    missing = sum(value is None for values in prompts.values() for value in values)
    judged = sum(any(value is not None for value in values) for values in prompts.values())
    return {"n": expected - missing, "expected": expected, "missing": missing, "prompts": judged}


def _mean_of(categories: list[Measure], resampled: list[Array]) -> Measure:
    """The unweighted mean of the categories; None where one of them has no number."""
    values = [one["value"] for one in categories]
    known = [value for value in values if value is not None]
    is_whole = len(known) == len(values)
    low, high = interval(np.mean(resampled, axis=0)) if is_whole else (None, None)
    passes = {
        k: sum(one["pass_at"][k] for one in categories) / len(categories)
        for k in map(str, PASSES)
        if all(k in one["pass_at"] for one in categories)
    }
    return Measure(
        value=sum(known) / len(known) if is_whole else None,
        low=low,
        high=high,
        n=sum(one["n"] for one in categories),
        expected=sum(one["expected"] for one in categories),
        missing=sum(one["missing"] for one in categories),
        prompts=sum(one["prompts"] for one in categories),
        pass_at=passes,
        protocol=_one_name(one["protocol"] for one in categories),
    )


def _together(categories: Mapping[str, Measure], protocol: Callable[[str], str]) -> str:
    return _one_name(one["protocol"] for one in categories.values()) if categories else protocol(OVERALL)


def _one_name(protocols: Iterable[str]) -> str:
    """The protocol of several categories; official only where all are."""
    return " ".join(dict.fromkeys(protocols))


def _mean(values: Iterable[bool | float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return float(sum(kept) / len(kept)) if kept else None
