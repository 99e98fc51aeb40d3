"""A benchmark of your own: a file of held-out prompts and a judge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from PIL import Image
from pydantic import Field

from selfportrait import components
from selfportrait.benchmarks._judged import Judge, rows
from selfportrait.benchmarks.base import Row, plain
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Score

__all__ = ["Prompts"]


class Prompts:
    """The prompts of a file (as the prompt source `file` reads it), several pictures each, judged by a judge.

    `judge` is the name of one, or a section with its settings. The number is the share of pictures that the judge calls
    exactly right, or the mean score of one that knows more and less only, such as PickScore.
    Keep them apart from the prompts that a run trains on, and use another judge than the one it trains with if you
    can: a model also learns its judge's weaknesses.
    """

    def __init__(
        self,
        *,
        path: str,
        judge: Annotated[Judge, components.Part("judges")],
        images_per_prompt: Annotated[int, Field(ge=1)] = 4,
        seed: int = 0,
    ) -> None:
        self.judge, self.images_per_prompt, self.seed = judge, images_per_prompt, seed
        read = components.find("prompts", "file")(path=path)()
        self._prompts = [replace(prompt, category=prompt.category or "prompts") for prompt in read]
        self._texts = {plain(prompt.text) for prompt in read}

    def prompts(self) -> list[Prompt]:
        """The prompts, in the file's order."""
        return self._prompts

    def seeds(self, prompt: Prompt) -> list[int]:
        """The seeds of a prompt's pictures: the same before and after training, and for every model."""
        return [derive("benchmark", self.seed, prompt.id, index) for index in range(self.images_per_prompt)]

    def measure(self, prompts: list[Prompt], images: list[list[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        return rows(self.judge, prompts, images)

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt is one of the file's."""
        return plain(text) in self._texts

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Judge one picture a prompt by the benchmark's judge."""
        return self.judge(prompts, images)
