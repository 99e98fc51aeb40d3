"""Exactly perturbed prompts of the micro world, written by no model."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from selfportrait.asking.base import Unreadable, Written, collect
from selfportrait.asking.perturb import Edit, edits
from selfportrait.asking.roles import perturbed
from selfportrait.micro.language import Claim, parse, say
from selfportrait.micro.rewriting import MOST_SHAPES, perturb
from selfportrait.micro.scenes import with_one_more
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["Micro"]


class Micro:
    """Edit each prompt's claim; every perturbed prompt conflicts with its own for certain.

    `edit` is OSPO's table, or "add" in every slot: one shape more of a kind that the prompt names, which is what the
    embedded models draw by mistake. A slot whose edit finds nothing to change, such as the colours of two red shapes,
    is left out and counted; so is a prompt of another language, as a model writes now and then.
    """

    def __init__(self, seed: int, *, edit: Literal["table", "add"] = "table") -> None:
        self.seed, self.edit = seed, edit

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The perturbed prompts of each prompt, slot by slot; raises ValueError where no prompt is of the language."""
        claims = [_claim(prompt.text) for prompt in prompts]
        if prompts and not any(claims):
            parse(prompts[0].text)
        slots = [(prompt, slot, edit) for prompt in prompts for slot, edit in enumerate(edits(prompt))]
        return collect([prompt.text for prompt, _, _ in slots], [partial(self._perturbed, *slot) for slot in slots])

    def _perturbed(self, prompt: Prompt, slot: int, edit: Edit, text: str) -> list[Prompt]:
        rng = random.Random(derive(self.seed, prompt.id, slot, "perturb"))
        name = edit if self.edit == "table" else self.edit
        claim = _claim(text)
        if claim is None:
            raise Unreadable("not in the language")
        changed = perturb(claim, edit, rng) if self.edit == "table" else _added(claim, rng)
        if changed is None:
            raise Unreadable(f"nothing to {name}")
        return [perturbed(prompt, slot, name, say(changed))]


def _claim(text: str) -> Claim | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _added(claim: Claim, rng: random.Random) -> Claim | None:
    if sum(phrase.count for phrase in claim.phrases) >= MOST_SHAPES:
        return None
    more = with_one_more(claim, rng)
    phrases = [replace(one, is_counted=one.is_counted or one.count > 1) for one in more.phrases]
    return replace(more, phrases=tuple(phrases))
