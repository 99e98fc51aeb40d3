"""Held-out prompts that count things of COCO's classes, judged by a detector."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated

from PIL import Image
from pydantic import Field

from selfportrait import components
from selfportrait.benchmarks._judged import rows
from selfportrait.benchmarks.base import Row
from selfportrait.counting import is_held_out, prompts
from selfportrait.seeds import derive
from selfportrait.types import Detection, Prompt, Score

__all__ = ["CocoCounts"]

_DETECTOR = components.Part("detectors", "d_fine")
Finds = Callable[[Sequence[Image.Image], Sequence[Sequence[str]]], list[list[Detection]]]


class CocoCounts:
    """Held-out prompts of the prompt source of the same name, several pictures each, counted by `detector`.

    A picture is exact when every number is right. Take another detector than the judge that a run trains with: a model
    learns its judge's weaknesses too. A detector miscounts, so an accuracy is that of pictures as it sees them.
    Source: the counting task of GPO (https://arxiv.org/abs/2505.11070), whose prompts are not published; it measures
    with YOLO11.
    """

    def __init__(
        self,
        *,
        detector: Annotated[Finds | None, _DETECTOR] = None,
        num_prompts: Annotated[int, Field(ge=1)] = 450,
        images_per_prompt: Annotated[int, Field(ge=1)] = 4,
        seed: int = 0,
    ) -> None:
        self.judge = components.find("judges", "count")(detector=detector or _DETECTOR.build())
        self.num_prompts, self.images_per_prompt, self.seed = num_prompts, images_per_prompt, seed

    def prompts(self) -> list[Prompt]:
        """The prompts, always the same."""
        return list(islice(prompts(held_out=True, seed=self.seed), self.num_prompts))

    def seeds(self, prompt: Prompt) -> list[int]:
        """The seeds of a prompt's pictures: the same before and after training, and for every model."""
        return [derive("benchmark", self.seed, prompt.id, index) for index in range(self.images_per_prompt)]

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        return rows(self.judge, prompts, images)

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt belongs to the held-out share, of which the benchmark takes a part."""
        return is_held_out(text)

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Judge one picture a prompt; a prompt that counts nothing is missing."""
        scores: list[Score] = self.judge(prompts, images)
        return scores
