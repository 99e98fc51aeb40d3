"""Perturbed prompts that the model writes itself."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import Decoding, Style, Writes, Written, collect, require, write_all
from selfportrait.asking.perturb import DIRECTIONS, Edit, conversation, edits, read
from selfportrait.asking.roles import perturbed
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["SelfWritten"]


class SelfWritten:
    """Ask the model for three perturbed prompts a prompt: replace, swap or drop, by the prompt's category.

    Source: OSPO's second step (https://arxiv.org/abs/2506.02015) with its decoding. Differs from the source: every text
    has a seed of its own, keyed by prompt and slot, where the code seeds each slot's whole pass with 0, 1 and 2; and an
    answer that repeats the prompt, or lists the same things in another order, is dropped.
    """

    def __init__(
        self,
        policy: Writes,
        seed: int,
        *,
        style: Style = "full",
        temperature: Annotated[float, Field(gt=0)] = 1.0,
        top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
        max_new_tokens: Annotated[int, Field(ge=1)] = 512,
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        require(policy, "write")
        self.policy, self.seed, self.style = policy, seed, style
        self.decoding = Decoding(temperature, top_p, max_new_tokens, batch_size)

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The perturbed prompts of each prompt, slot by slot."""
        slots = [(prompt, slot, edit) for prompt in prompts for slot, edit in enumerate(edits(prompt))]
        conversations = [
            conversation(prompt, edit, self.style, self._direction(prompt, slot)) for prompt, slot, edit in slots
        ]
        seeds = [derive(self.seed, prompt.id, slot, "perturb") for prompt, slot, _ in slots]
        texts = write_all(self.policy, conversations, seeds, self.decoding, "perturbing prompts")
        return collect(texts, [partial(_perturbed, *where) for where in slots])

    def _direction(self, prompt: Prompt, slot: int) -> str:
        return random.Random(derive(self.seed, prompt.id, slot, "direction")).choice(DIRECTIONS)


def _perturbed(prompt: Prompt, slot: int, edit: Edit, text: str) -> list[Prompt]:
    return [perturbed(prompt, slot, edit, read(text, prompt.text))]
