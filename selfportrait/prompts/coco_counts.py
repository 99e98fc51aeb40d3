"""Prompts that count things of COCO's classes, for a model that learns to count and a detector that judges it."""

from itertools import islice
from typing import Annotated

from pydantic import Field

from selfportrait.counting import prompts
from selfportrait.types import Prompt

__all__ = ["CocoCounts"]


class CocoCounts:
    """Distinct prompts of one to three kinds of things, such as "three cats and a dog on a beach".

    They are composed of lists of our own, where GPO's were written by a language model, and never meet those that the
    benchmark of the same name measures with.
    """

    def __init__(self, *, num_prompts: Annotated[int, Field(ge=1)] = 1050, seed: int = 0) -> None:
        self.num_prompts, self.seed = num_prompts, seed

    def __call__(self) -> list[Prompt]:
        """The prompts, always the same."""
        return list(islice(prompts(held_out=False, seed=self.seed), self.num_prompts))
