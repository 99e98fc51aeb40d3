"""Exactly perturbed prompts of the micro world, written by no model."""

import random
from collections.abc import Sequence
from functools import partial

from selfportrait.asking.base import Unreadable, Written, collect
from selfportrait.asking.perturb import Edit, edits
from selfportrait.asking.roles import perturbed
from selfportrait.micro.language import Claim, parse, say
from selfportrait.micro.rewriting import perturb
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["Micro"]


class Micro:
    """Edit each prompt's claim as the table of OSPO says; every perturbed prompt conflicts with its own for certain.

    A slot whose edit finds nothing to change, such as the colours of two red shapes, is left out and counted; so is a
    prompt of another language, as a model writes now and then.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The perturbed prompts of each prompt, slot by slot; raises ValueError where no prompt is of the language."""
        if prompts and not any(_claim(prompt.text) for prompt in prompts):
            parse(prompts[0].text)
        slots = [(prompt, slot, edit) for prompt in prompts for slot, edit in enumerate(edits(prompt))]
        return collect([prompt.text for prompt, _, _ in slots], [partial(self._perturbed, *slot) for slot in slots])

    def _perturbed(self, prompt: Prompt, slot: int, edit: Edit, text: str) -> list[Prompt]:
        rng = random.Random(derive(self.seed, prompt.id, slot, "perturb"))
        claim = _claim(text)
        if claim is None:
            raise Unreadable("not in the language")
        changed = perturb(claim, edit, rng)
        if changed is None:
            raise Unreadable(f"nothing to {edit}")
        return [perturbed(prompt, slot, edit, say(changed))]


def _claim(text: str) -> Claim | None:
    try:
        return parse(text)
    except ValueError:
        return None
