"""What every benchmark offers, and how its verdicts become accuracies, pass@k and intervals.

Read this to see what an accuracy with "low" and "high" beside it means. Intervals are percentile bootstraps over
prompts, because the pictures of one prompt are not independent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from selfportrait.types import Prompt, Score

__all__ = [
    "LEVEL",
    "OVERALL",
    "RESAMPLES",
    "Benchmark",
    "Difference",
    "Row",
    "Summary",
    "aggregate",
    "bootstrap_interval",
    "compare",
    "interval",
    "paired_interval",
    "pass_at_k",
    "passes_at",
    "plain",
    "resampled_ratio",
    "worth",
]

Array = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95
OVERALL = "overall"


class Row(TypedDict):
    """The verdict on one picture; `exact` and `score` are None, with a reason, when it could not be judged.

    A benchmark that knows no right and wrong, only more and less, leaves `exact` None and gives a score.
    """

    prompt_id: str
    category: str
    index: int
    exact: bool | None
    score: float | None
    reason: str | None
    details: Mapping[str, Any]


class Summary(TypedDict):
    """One category: share of judged pictures that are exactly right with its 95 % interval, pass@4, and how many.

    Where the benchmark only gives scores, `is_score` is true and the "accuracy" is their mean, in their own unit. `n`
    counts the judged pictures, `missing` those that could not be judged. pass_at_4 is None when no prompt has four
    judged pictures, or where there are only scores.
    """

    accuracy: float
    low: float
    high: float
    pass_at_4: float | None
    n: int
    missing: int
    is_score: bool


class Benchmark(Protocol):
    """Fixed prompts, fixed seeds and a way to judge the pictures drawn for them."""

    def prompts(self) -> list[Prompt]:
        """Return the prompts, always the same."""
        ...

    def seeds(self, prompt: Prompt) -> list[int]:
        """Return the seeds of a prompt's pictures, the same before and after training."""
        ...

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge the pictures of each prompt; one row a picture, in order."""
        ...

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt must not be trained on, because the benchmark measures with it or keeps it apart."""
        ...

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Judge one picture a prompt, whatever the prompts are; missing, with the reason, where it cannot tell."""
        ...


def plain(text: str) -> str:
    """A prompt by which it is compared with others: without capitals, doubled spaces and the dot at its end."""
    return " ".join(text.lower().split()).rstrip(".")


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate without bias the chance that one of k pictures is right, from c right ones among n: 1 - C(n-c,k)/C(n,k).

    Source: Eq. 1 of https://arxiv.org/abs/2107.03374.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} pictures and at most as many right ones: got {c} of {n}.")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def passes_at(judged: Iterable[Sequence[bool | float]], k: int) -> list[float]:
    """pass@k of each prompt with k judged pictures or more; none where there are only scores."""
    return [
        pass_at_k(len(verdicts), sum(map(int, verdicts)), k)
        for verdicts in judged
        if len(verdicts) >= k and all(isinstance(verdict, bool) for verdict in verdicts)
    ]


def worth(row: Mapping[str, Any]) -> bool | float | None:
    """What a picture counts: whether it is exactly right, or its score where nobody says so; None where it is missing.

    A picture that is exactly right or wrong counts as that whatever its score is.
    """
    exact, score = row["exact"], row.get("score")
    return exact if exact is not None else score


def bootstrap_interval(
    values: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Bound the mean of per-prompt values (N,) by resampling prompts; NaN values are left out."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[~np.isnan(kept)]
    if kept.size == 0:
        raise ValueError("there is no value to bound: every prompt is missing; judge the pictures again.")
    return interval(resampled_ratio(kept, np.ones_like(kept), (seed,), resamples), level)


def resampled_ratio(numerator: Array, denominator: Array, key: Sequence[int], resamples: int) -> Array:
    """Resample prompts with replacement and sum both sides: (N,), (N,) -> (R,)."""
    chosen = np.random.default_rng(key).integers(numerator.size, size=(resamples, numerator.size))
    ratio: Array = numerator[chosen].sum(axis=1) / denominator[chosen].sum(axis=1)
    return ratio


def interval(resampled: Array, level: float = LEVEL) -> tuple[float, float]:
    """The percentiles between which resampled values (R,) lie."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class Difference(NamedTuple):
    """Mean of after - before over prompts and its interval."""

    difference: float
    low: float
    high: float


def paired_interval(
    before: ArrayLike, after: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Difference:
    """Bound the mean of after - before (N,) over the same prompts; a prompt missing (NaN) on one side is left out."""
    first, second = (np.asarray(side, dtype=np.float64) for side in (before, after))
    if first.shape != second.shape:
        raise ValueError(
            f"only the same prompts can be compared: got {first.size} before and {second.size} after; "
            "measure both with the same benchmark settings."
        )
    differences = second - first
    low, high = bootstrap_interval(differences, resamples=resamples, level=level, seed=seed)
    return Difference(float(np.nanmean(differences)), low, high)


def aggregate(rows: Iterable[Mapping[str, Any]], *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Summary]:
    """Summarise verdicts by category and as "overall", the unweighted mean of the categories.

    `rows` hold one picture each: prompt_id, category, exact, and the score that counts where exact is None. Missing
    verdicts are left out of every share and counted. Overall is bounded by resampling the prompts within each category
    (a stratified bootstrap). Raises ValueError when there is no row, or a category without any verdict.
    """
    summaries: dict[str, Summary] = {}
    resampled: list[Array] = []
    for category, prompts in _verdicts(rows).items():
        judged = [[verdict for verdict in verdicts if verdict is not None] for verdicts in prompts.values()]
        judged_prompts = [verdicts for verdicts in judged if verdicts]
        if not judged_prompts:
            raise ValueError(
                f"category {category!r} has no verdict at all; see the reasons in its scores, judge again."
            )
        right = np.array([sum(verdicts) for verdicts in judged_prompts], dtype=np.float64)  # (N,)
        count = np.array([len(verdicts) for verdicts in judged_prompts], dtype=np.float64)  # (N,)
        ratios = resampled_ratio(right, count, (seed, *category.encode()), resamples)  # (R,)
        low, high = interval(ratios, LEVEL)
        passes = passes_at(judged_prompts, 4)
        summaries[category] = Summary(
            accuracy=float(right.sum() / count.sum()),
            low=low,
            high=high,
            pass_at_4=sum(passes) / len(passes) if passes else None,
            n=int(count.sum()),
            missing=sum(map(len, prompts.values())) - int(count.sum()),
            is_score=not all(isinstance(verdict, bool) for verdicts in judged_prompts for verdict in verdicts),
        )
        resampled.append(ratios)
    summaries[OVERALL] = _overall(list(summaries.values()), np.mean(resampled, axis=0))
    return summaries


def compare(
    before: Iterable[Mapping[str, Any]],
    after: Iterable[Mapping[str, Any]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Bound how much accuracy rose, by category and overall, from the verdicts on the same prompts before and after.

    The mean is over prompts, paired; with as many judged pictures for every prompt it is the difference of the
    accuracies of `aggregate`. Raises ValueError when the prompts are not the same.
    """
    shares_before, shares_after = _shares(before), _shares(after)
    if {key: list(shares) for key, shares in shares_before.items()} != {
        key: list(shares) for key, shares in shares_after.items()
    }:
        raise ValueError("only the same prompts can be compared; measure both with the same benchmark settings.")
    differences: dict[str, Difference] = {}
    resampled: list[Array] = []
    for category, shares in shares_before.items():
        change = np.array([shares_after[category][prompt] - share for prompt, share in shares.items()])
        change = change[~np.isnan(change)]
        if change.size == 0:
            raise ValueError(f"category {category!r} has no prompt judged both before and after; judge again.")
        means = resampled_ratio(change, np.ones_like(change), (seed, *category.encode()), resamples)
        differences[category] = Difference(float(change.mean()), *interval(means, LEVEL))
        resampled.append(means)
    mean = sum(item.difference for item in differences.values()) / len(differences)
    differences[OVERALL] = Difference(mean, *interval(np.mean(resampled, axis=0), LEVEL))
    return differences


def _overall(categories: list[Summary], resampled: Array) -> Summary:
    low, high = interval(resampled, LEVEL)
    passes = [summary["pass_at_4"] for summary in categories if summary["pass_at_4"] is not None]
    return Summary(
        accuracy=sum(summary["accuracy"] for summary in categories) / len(categories),
        low=low,
        high=high,
        pass_at_4=sum(passes) / len(passes) if len(passes) == len(categories) else None,
        n=sum(summary["n"] for summary in categories),
        missing=sum(summary["missing"] for summary in categories),
        is_score=any(summary["is_score"] for summary in categories),
    )


def _verdicts(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[bool | float | None]]]:
    """Group verdicts by category and prompt, both sorted, so that the order of the rows does not matter."""
    grouped: dict[str, dict[str, list[bool | float | None]]] = {}
    for row in rows:
        grouped.setdefault(row["category"], {}).setdefault(row["prompt_id"], []).append(worth(row))
    if not grouped:
        raise ValueError("there is no verdict to summarise: the benchmark judged no picture; check its prompts.")
    assert OVERALL not in grouped, "a category cannot be called overall"
    return {category: dict(sorted(prompts.items())) for category, prompts in sorted(grouped.items())}


def _shares(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Share of right pictures of each prompt, NaN where none was judged."""
    return {
        category: {
            prompt: float(np.mean(judged))
            if (judged := [verdict for verdict in verdicts if verdict is not None])
            else math.nan
            for prompt, verdicts in prompts.items()
        }
        for category, prompts in _verdicts(rows).items()
    }
