"""Prompt sets without a metric of their own, which preference scorers judge: means, medians, and who wins.

Read this to see what a category such as "pick_score / Animals" is; `selfportrait compare` says who wins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from selfportrait.benchmarks import _parts
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks.base import Row
from selfportrait.measures import Entry
from selfportrait.types import Prompt, Score

__all__ = ["JUDGE_OF", "entries", "judges", "measure", "medians", "protocol", "ready"]

JUDGE_OF = " / "
"""Between the judge and the group in a category's name."""


def judges(names: Sequence[_parts.Named]) -> dict[str, _parts.ByName]:
    """The judges by name, each once."""
    parts = [_parts.ByName("judges", named) for named in names]
    return {part.name: part for part in parts}


def protocol(category: str) -> str:
    """Whose numbers a category holds."""
    return f"approx:{category.partition(JUDGE_OF)[0]}"


class Scored(Protocol):
    """A prompt set with judges by name, which takes the two functions below for methods."""

    _judges: dict[str, _parts.ByName]


def ready(self: Scored) -> None:
    """Build the judges."""
    _parts.build(self._judges.values())


def measure(self: Scored, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
    """Judge each picture by every judge; the row's score is the first judge's, all of them are in its details."""
    flat = one_by_one(prompts, images)
    by_judge = {
        name: part.built([prompt for prompt, _, _ in flat], [image for _, _, image in flat])
        for name, part in self._judges.items()
    }
    return [
        _row(prompt, index, {name: scores[place] for name, scores in by_judge.items()})
        for place, (prompt, index, _) in enumerate(flat)
    ]


def _row(prompt: Prompt, index: int, scores: Mapping[str, Score]) -> Row:
    first = next(iter(scores.values()))
    details = {
        "row": prompt.spec["row"],
        "groups": prompt.spec.get("groups", [prompt.category]),
        "scores": {name: None if score.value is None else float(score.value) for name, score in scores.items()},
        "reasons": {name: score.reason for name, score in scores.items() if score.reason},
    }
    return _parts.row(prompt, index, Score(first.value, first.reason, details))


def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """A picture counts for each judge, over all prompts and in each group of its prompt."""
    for row in rows:
        found = _parts.details_of(row)
        for judge, value in found.get("scores", {}).items():
            yield Entry(judge, row["prompt_id"], value)
            for group in found["groups"]:
                yield Entry(f"{judge}{JUDGE_OF}{group}", row["prompt_id"], value)


def medians(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The median over pictures of each judge."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for judge, value in _parts.details_of(row).get("scores", {}).items():
            values.setdefault(judge, []).extend([] if value is None else [value])
    return {f"median {judge}": float(np.median(several)) for judge, several in values.items() if several}
