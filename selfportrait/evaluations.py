"""Evaluations that lie in a folder: which benchmarks were measured, what came of them, and their verdicts.

Read this to see how `selfportrait evaluate` lays its folders out: one benchmark of one's own in the folder itself,
every other in a folder of its name below it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from selfportrait import components, measures, stages, store
from selfportrait.benchmarks import base

__all__ = ["FILE", "Evaluation", "differences", "evaluations", "is_published", "mean_scores", "summed"]

FILE = "evaluation.json"
_OWN = "own"  # the protocol of a benchmark of one's own


class Evaluation(NamedTuple):
    """One benchmark in a folder: what it is called, its settings, and what came of it."""

    benchmark: str
    folder: Path
    settings: Mapping[str, Any]

    @property
    def table(self) -> Path:
        """The verdicts and pictures."""
        return self.folder / "evaluation"

    @property
    def is_finished(self) -> bool:
        """Whether all of it was judged and summed up."""
        return (self.folder / FILE).is_file()

    @property
    def result(self) -> dict[str, Any]:
        """What is in evaluation.json; raises FileNotFoundError where the evaluation was not finished."""
        if not self.is_finished:
            raise FileNotFoundError(
                f"{self.folder} is not finished: it has no {FILE}; run the same selfportrait evaluate again"
            )
        found: dict[str, Any] = store.read_json(self.folder / FILE)
        return found

    @property
    def measured(self) -> measures.Measured:
        """The same in the form of a published benchmark."""
        return summed(self.benchmark, self.result)


def is_published(component: Any) -> bool:
    """Whether a benchmark is a published one, with a metric of its own, by its class."""
    return hasattr(component, "metric") and hasattr(component, "entries")


def evaluations(folder: Path) -> dict[str, Evaluation]:
    """The evaluations in a folder by benchmark; none where it holds none, or is a run of a recipe."""
    if (folder / "config.json").is_file() and _evaluation(folder) is None:
        return {}
    found = [_evaluation(one) for one in (folder, *sorted(path for path in folder.glob("*") if path.is_dir()))]
    return {one.benchmark: one for one in found if one is not None}


def _evaluation(folder: Path) -> Evaluation | None:
    path = folder / "config.json"
    config = store.read_json(path) if path.is_file() else None
    settings = config.get("settings") if isinstance(config, dict) else None
    if not isinstance(settings, dict) or "recipe" in settings or not isinstance(settings.get("benchmark"), dict):
        return None
    return Evaluation(str(settings["benchmark"].get("name")), folder, settings)


def summed(benchmark: str, result: Mapping[str, Any]) -> measures.Measured:
    """A result in one form, whether the benchmark is published or one's own."""
    if "categories" in result:
        return cast(measures.Measured, dict(result))
    own = {name: _measure(row) for name, row in result.items()}
    overall = own.pop(base.OVERALL, None)
    return measures.Measured(
        metric=_Own.metric.name,
        scale=1.0,
        overall_is="mean of categories",
        categories=own,
        overall=overall,
        protocol=_OWN,
        extra={},
    )


def mean_scores(rows: Iterable[Mapping[str, Any]]) -> measures.Measured:
    """What came of a benchmark of one's own whose judge says nothing of right and wrong."""
    summing: Any = _OwnScores
    return measures.summarise(summing, rows, lambda _: _OWN)


def _measure(row: Mapping[str, Any]) -> measures.Measure:
    passed = {} if row["pass_at_4"] is None else {"4": row["pass_at_4"]}
    missing = row.get("missing", 0)
    return measures.Measure(
        value=row["accuracy"],
        low=row["low"],
        high=row["high"],
        n=row["n"],
        expected=row["n"] + missing,
        missing=missing,
        prompts=0,
        pass_at=passed,
        protocol=_OWN,
    )


def differences(before: Evaluation, after: Evaluation) -> dict[str, measures.PairedDifference]:
    """How much each category rose; raises ValueError where both were not measured alike."""
    component = components.find("benchmarks", before.benchmark)
    rows = stages.judged(before.table), stages.judged(after.table)
    summing: Any = component if is_published(component) else _Own
    try:
        return measures.differences(summing, *rows)
    except ValueError as error:
        raise ValueError(f"{before.folder} and {after.folder}: {error}") from error


class _Own:
    """How a benchmark of one's own sums up: by category, and the mean of the categories."""

    metric = measures.Metric("share of exactly right pictures", "mean of categories")
    entries = staticmethod(measures.entries_of_pictures)
    extras = staticmethod(measures.no_extras)


class _OwnScores:
    """The same where its judge only knows more and less."""

    metric = measures.Metric("mean score of the judge", "mean of categories")
    entries = staticmethod(measures.entries_of_pictures)
    extras = staticmethod(measures.no_extras)
