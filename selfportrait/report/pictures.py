"""Before and after pictures of the same prompts at the same seeds, chosen by rule and not by eye.

Read this to see which pictures the report shows and why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from selfportrait.benchmarks.base import worth
from selfportrait.report.reading import Picture, RunRecord, evaluation, picture, read_table
from selfportrait.report.units import score

__all__ = [
    "Changes",
    "First",
    "Largest",
    "Pair",
    "PromptPictures",
    "Shown",
    "count_changes",
    "first_pictures",
    "largest_changes",
    "read_pairs",
]

TRAINED_SHOWN = 8  # first prompts shown of the trained category
OTHERS_SHOWN = 4  # and of each other one
LARGEST_SHOWN = 3  # prompts shown in each direction
SEEDS_SHOWN = 8  # pictures shown of one prompt

Verdict = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One prompt at one seed: its evaluation row before and after; None where it was not evaluated."""

    prompt_id: str
    prompt: str
    category: str
    index: int
    seed: int
    before: Verdict | None
    after: Verdict | None

    @property
    def change(self) -> float:
        """1 where the picture became exact, -1 where it stopped being exact, 0 also where one was not judged.

        Where nobody says what is exact, by how much its score rose.
        """
        before, after = (None if row is None else worth(row) for row in (self.before, self.after))
        return 0 if before is None or after is None else after - before

    @property
    def is_score(self) -> bool:
        """Whether it was given a score, and not told right or wrong."""
        return any(
            row is not None and row["exact"] is None and worth(row) is not None for row in (self.before, self.after)
        )


@dataclass(frozen=True)
class Changes:
    """How many pictures of a category became exact and how many stopped being exact, or rose and fell in score."""

    gained: int
    lost: int


@dataclass(frozen=True)
class Shown:
    """One picture with its mark: exact is True, False or None, and `verdict` says it in words."""

    picture: Picture
    exact: bool | None
    verdict: str
    alt: str


@dataclass(frozen=True)
class PromptPictures:
    """The pictures of one prompt, before and after, in the same order of seeds."""

    prompt: str
    category: str
    before: list[Shown]
    after: list[Shown]
    change: float
    is_score: bool


@dataclass(frozen=True)
class First:
    """The first prompts of one category."""

    category: str
    is_trained: bool
    prompts: list[PromptPictures]


@dataclass(frozen=True)
class Largest:
    """The prompts whose pictures changed most, both ways."""

    gained: list[PromptPictures]
    lost: list[PromptPictures]


def read_pairs(run: RunRecord) -> list[Pair]:
    """Match the evaluation before with the one after by prompt, index and seed, in the order of the benchmark."""
    before, after = _verdicts(run, "before"), _verdicts(run, "after")
    pairs = []
    for key in dict.fromkeys([*before, *after]):
        row = before.get(key) or after[key]
        pairs.append(
            Pair(key[0], row["prompt"], row["category"] or "", key[1], key[2], before.get(key), after.get(key))
        )
    return pairs


def _verdicts(run: RunRecord, when: str) -> dict[tuple[str, int, int], Verdict]:
    columns = ["prompt_id", "prompt", "category", "index", "seed", "exact", "score", "reason"]
    rows = read_table(evaluation(run, when), columns)
    return {(row["prompt_id"], row["index"], row["seed"]): row for row in rows}


def count_changes(pairs: Iterable[Pair]) -> dict[str, Changes]:
    """Pictures that gained and that lost by category, and overall; empty where nothing was evaluated twice."""
    counts: dict[str, list[int]] = {}
    for pair in pairs:
        if pair.before is None or pair.after is None:
            continue
        for name in {pair.category, "overall"}:
            count = counts.setdefault(name, [0, 0])
            count[0] += pair.change > 0
            count[1] += pair.change < 0
    return {name: Changes(*count) for name, count in counts.items()}


def first_pictures(run: RunRecord, pairs: Sequence[Pair]) -> list[First]:
    """The first prompts of every category in the order of the benchmark, one picture each: its first seed."""
    firsts = [next(iter(group)) for group in _by_prompt(pairs)]
    trained = run.trained_category
    chosen: dict[str, list[Pair]] = {}
    for pair in firsts:
        shown = chosen.setdefault(pair.category, [])
        if len(shown) < (TRAINED_SHOWN if pair.category == trained else OTHERS_SHOWN):
            shown.append(pair)
    images = _Images(run, [pair for shown in chosen.values() for pair in shown])
    names = sorted(chosen, key=lambda name: name != trained)
    return [First(name, name == trained, [images.of_prompt([pair]) for pair in chosen[name]]) for name in names]


def largest_changes(run: RunRecord, pairs: Sequence[Pair]) -> Largest:
    """The prompts that gained and lost most exact pictures, or most in score; among equals the benchmark's first."""
    prompts = [list(group) for group in _by_prompt(pairs)]
    gained = [group for group in prompts if _gain(group) > 0]
    lost = [group for group in prompts if _gain(group) < 0]
    gained = sorted(gained, key=_gain, reverse=True)[:LARGEST_SHOWN]
    lost = sorted(lost, key=_gain)[:LARGEST_SHOWN]
    images = _Images(run, [pair for group in gained + lost for pair in group])
    return Largest([images.of_prompt(group) for group in gained], [images.of_prompt(group) for group in lost])


def _by_prompt(pairs: Sequence[Pair]) -> Iterable[Iterable[Pair]]:
    order = {prompt_id: place for place, prompt_id in enumerate(dict.fromkeys(pair.prompt_id for pair in pairs))}
    ordered = sorted(pairs, key=lambda pair: (order[pair.prompt_id], pair.index))
    return (group for _, group in groupby(ordered, key=lambda pair: pair.prompt_id))


def _gain(group: Iterable[Pair]) -> float:
    return sum(pair.change for pair in group)


class _Images:
    """The pictures of some pairs, read in one pass so that a large run is not held in memory."""

    def __init__(self, run: RunRecord, pairs: Sequence[Pair]) -> None:
        self._cells = {when: self._read(run, when, pairs) for when in ("before", "after")}

    @staticmethod
    def _read(run: RunRecord, when: str, pairs: Sequence[Pair]) -> dict[tuple[str, int, int], Any]:
        ids = list(dict.fromkeys(pair.prompt_id for pair in pairs))
        columns = ["prompt_id", "index", "seed", "image"]
        rows = read_table(evaluation(run, when), columns, only=("prompt_id", ids))
        return {(row["prompt_id"], row["index"], row["seed"]): row["image"] for row in rows}

    def of_prompt(self, group: Sequence[Pair]) -> PromptPictures:
        """The pictures of one prompt, at most SEEDS_SHOWN each way."""
        shown = group[:SEEDS_SHOWN]
        before = [self._shown(pair, "before", pair.before) for pair in shown]
        after = [self._shown(pair, "after", pair.after) for pair in shown]
        is_score = any(pair.is_score for pair in group)
        return PromptPictures(group[0].prompt, group[0].category, before, after, _gain(group), is_score)

    def _shown(self, pair: Pair, when: str, verdict: Verdict | None) -> Shown:
        exact = None if verdict is None else verdict["exact"]
        words = _in_words(verdict)
        alt = f"{when.capitalize()} training, seed {pair.seed}, {words}: {pair.prompt}"
        cell = self._cells[when].get((pair.prompt_id, pair.index, pair.seed))
        return Shown(picture(cell), exact, words, alt)


def _in_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not drawn"
    if verdict["exact"] is None and verdict.get("score") is not None:
        return f"score {score(verdict['score'])}"
    if verdict["exact"] is None:
        return f"not judged: {verdict['reason']}" if verdict["reason"] else "not judged"
    return "exact" if verdict["exact"] else "not exact"
