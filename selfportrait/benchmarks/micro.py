"""The micro benchmark: held-out prompts of the micro world, judged exactly; words are read by OCR."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby, islice
from typing import Annotated

from PIL import Image
from pydantic import Field

from selfportrait import components
from selfportrait.benchmarks._judged import Judge, rows
from selfportrait.benchmarks.base import Row, plain
from selfportrait.micro.scenes import Categories, is_held_out, prompts
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Score

__all__ = ["Micro"]


class Micro:
    """Held-out prompts a category, several pictures each, the same prompts and seeds whoever asks.

    A picture is exact when every question of its prompt is answered yes: each named kind is there (as many times as
    the prompt counts), relation, place and background hold, and in prompts that do not count nothing else is there.
    """

    def __init__(
        self,
        *,
        categories: Categories = (
            "color",
            "shape",
            "spatial",
            "numeracy",
            "complex",
        ),
        prompts_per_category: Annotated[int, Field(ge=1)] = 100,
        images_per_prompt: Annotated[int, Field(ge=1)] = 4,
        seed: int = 0,
    ) -> None:
        self.categories, self.prompts_per_category = categories, prompts_per_category
        self.images_per_prompt, self.seed = images_per_prompt, seed

    def prompts(self) -> list[Prompt]:
        """The held-out prompts, category by category."""
        return [
            prompt
            for category in self.categories
            for prompt in islice(prompts(category, held_out=True, seed=self.seed), self.prompts_per_category)
        ]

    def seeds(self, prompt: Prompt) -> list[int]:
        """The seeds of a prompt's pictures: the same before and after training, and for every model."""
        return [derive("benchmark", self.seed, prompt.id, index) for index in range(self.images_per_prompt)]

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        drawn = list(zip(prompts, images, strict=True))
        found: list[Row] = []
        for category, part in groupby(drawn, key=lambda pair: pair[0].category):
            own_prompts, own_images = zip(*part, strict=True)
            found += rows(_judge_of(category), own_prompts, own_images)
        return found

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt belongs to the micro world's held-out split, of which the benchmark takes a part."""
        return is_held_out(plain(text))

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Judge one picture a prompt; a prompt that is not of the micro language is missing."""
        return [_judge_of(prompt.category)([prompt], [image])[0] for prompt, image in zip(prompts, images, strict=True)]


@cache
def _judge_of(category: str) -> Judge:
    """Each is built once; the one that reads words loads its networks then."""
    judge: Judge = components.find("judges", "ocr" if category == "text" else "micro_questions")()
    return judge
