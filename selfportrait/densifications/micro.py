"""Exactly detailed prompts of the micro world, written by no model."""

import random
from collections.abc import Sequence

from selfportrait.asking.base import Written
from selfportrait.asking.roles import base_of, dense, role_of
from selfportrait.micro.language import parse, say
from selfportrait.micro.rewriting import densify
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["Micro"]


class Micro:
    """Add the same things to a prompt and to its perturbed version: a background, a place, a relation, colours, sizes.

    Each says all that its short prompt says, and nothing that only the other one's picture shows.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """Two detailed prompts for each perturbed one; raises ValueError for a prompt of another language."""
        by_id = {prompt.id: prompt for prompt in prompts}
        found = []
        for prompt in prompts:
            role = role_of(prompt)
            if role is None or role.kind != "perturbed":
                continue
            base = base_of(prompt, by_id)
            rng = random.Random(derive(self.seed, prompt.id, "densify"))
            pair = densify(parse(base.text), parse(prompt.text), rng)
            found += [dense(base, role.slot, role.edit, say(pair.base))]
            found += [dense(prompt, role.slot, role.edit, say(pair.perturbed))]
        return Written(found)
