"""Perturbed prompts that ask for one thing more, written by a rule and no model.

Read this where a model draws too many of something: the hard negatives are then its own mistake, which none of OSPO's
three edits makes.
"""

import random
import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import Unreadable, Written, collect
from selfportrait.asking.phrases import noun_phrases
from selfportrait.asking.roles import perturbed
from selfportrait.asking.words import counted
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["OneMore"]

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


class OneMore:
    """Raise the number of one thing of each prompt: "a cat" becomes "two cats", "two cats" become "three cats".

    Which thing, chance decides in each of `slots` slots; a prompt with one thing has the same perturbed prompt in all,
    and other seeds. A thing without article or number, and more than `most` of one, is left alone.
    """

    def __init__(
        self, seed: int, *, slots: Annotated[int, Field(ge=1)] = 3, most: Annotated[int, Field(ge=2, le=8)] = 5
    ) -> None:
        self.seed, self.slots, self.most = seed, slots, most

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The perturbed prompts of each prompt, slot by slot."""
        slots = [(prompt, slot) for prompt in prompts for slot in range(self.slots)]
        return collect([prompt.text for prompt, _ in slots], [partial(self._perturbed, *slot) for slot in slots])

    def _perturbed(self, prompt: Prompt, slot: int, text: str) -> list[Prompt]:
        options = [changed for phrase in noun_phrases(text) if (changed := self._raised(text, phrase))]
        if not options:
            raise Unreadable("nothing to count")
        chance = random.Random(derive(self.seed, prompt.id, slot, "perturb"))
        return [perturbed(prompt, slot, "add", chance.choice(options))]

    def _raised(self, text: str, phrase: str) -> str | None:
        """The text with one more of what a noun phrase names; None for a background, and what cannot be counted."""
        first, _, things = phrase.partition(" ")
        number = 1 if first in ("a", "an") else _NUMBERS.index(first) + 1 if first in _NUMBERS else None
        place = re.search(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE)
        if number is None or number >= self.most or place is None or things.endswith("background"):
            return None
        raised = counted(2, things) if number == 1 else f"{_NUMBERS[number]} {things}"
        return text[: place.start()] + raised + text[place.end() :]
