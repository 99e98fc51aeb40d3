"""Benchmarks whose verdicts come from one judge: a row a picture."""

from collections.abc import Callable, Sequence

from PIL import Image

from selfportrait.benchmarks.base import Row
from selfportrait.types import Prompt, Score

__all__ = ["Judge", "one_by_one", "rows"]

Judge = Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]]


def rows(judge: Judge, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
    """Judge the pictures of each prompt; one row a picture, in order."""
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
    """A picture is right or wrong only where its judge says so: what a score is worth, differs by judge."""
    exact = score.details.get("exact")
    return {
        "prompt_id": prompt.id,
        "category": prompt.category,
        "index": index,
        "exact": None if score.value is None or exact is None else bool(exact),
        "score": score.value,
        "reason": score.reason,
        "details": score.details,
    }
