"""Prompts of the micro world's training split; they never meet the held-out ones."""

from itertools import islice
from typing import Annotated

from pydantic import Field

from selfportrait.micro.scenes import Categories, prompts
from selfportrait.types import Prompt

__all__ = ["Micro"]


class Micro:
    """Distinct training prompts of one or more categories, in equal numbers."""

    def __init__(
        self,
        *,
        categories: Categories = ("numeracy",),
        num_prompts: Annotated[int, Field(ge=1)] = 1000,
        seed: int = 0,
    ) -> None:
        self.categories, self.num_prompts, self.seed = categories, num_prompts, seed

    def __call__(self) -> list[Prompt]:
        """The prompts, category by category; fewer where a category has no more."""
        share = -(-self.num_prompts // len(self.categories))
        found = [
            prompt
            for category in self.categories
            for prompt in islice(prompts(category, held_out=False, seed=self.seed), share)
        ]
        return found[: self.num_prompts]
