"""Benchmarks whose verdicts come from a judge, by its name in a config or a built one."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from PIL import Image

from selfportrait import components
from selfportrait.benchmarks.base import Row
from selfportrait.types import Prompt, Score

__all__ = ["checked", "judged", "one_by_one", "rows"]


@cache
def _judge(name: str) -> Any:
    return components.find("judges", name)()


def checked(name: str, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
    """Judge one picture a prompt; one score a picture, in order."""
    scores: list[Score] = _judge(name)(prompts, images)
    return scores


def judged(name: str, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
    """Judge the pictures of each prompt; one row a picture, in order."""
    return rows(_judge(name), prompts, images)


def rows(
    judge: Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]],
    prompts: Sequence[Prompt],
    images: Sequence[Sequence[Image.Image]],
) -> list[Row]:
    """The same by a judge that is built."""
    flat = one_by_one(prompts, images)
    scores = judge([prompt for prompt, _, _ in flat], [image for _, _, image in flat])
    return [_row(prompt, index, score) for (prompt, index, _), score in zip(flat, scores, strict=True)]


def one_by_one(
    prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]
) -> list[tuple[Prompt, int, Image.Image]]:
    """Each picture with its prompt and its number among the prompt's, in order."""
    return [
        (prompt, index, image)
        for prompt, several in zip(prompts, images, strict=True)
        for index, image in enumerate(several)
    ]


def _row(prompt: Prompt, index: int, score: Score) -> Row:
    """A picture is exact when its judge says so, or where the judge does not say, when it has the full score of 1."""
    return {
        "prompt_id": prompt.id,
        "category": prompt.category,
        "index": index,
        "exact": None if score.value is None else bool(score.details.get("exact", score.value >= 1)),
        "score": score.value,
        "reason": score.reason,
        "details": score.details,
    }
