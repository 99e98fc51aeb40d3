"""Detailed prompts that the model writes itself, a prompt and its perturbed version in one answer."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import Decoding, Style, Writes, Written, collect, require, write_all
from selfportrait.asking.densify import conversation, read
from selfportrait.asking.roles import Role, base_of, dense, role_of
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["SelfWritten"]


class SelfWritten:
    """Ask the model, once a slot, for detailed versions of a prompt and of its perturbed version that share a scene.

    A prompt with three perturbed prompts so gets three detailed versions, each aligned to its own. An answer in which a
    label is missing, or comes twice, drops the slot.
    Source: OSPO's second step (https://arxiv.org/abs/2506.02015) with its decoding. Differs from the source: every text
    has a seed of its own, keyed by the perturbed prompt.
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
        """Two detailed prompts, of the base and of the perturbed one, for each perturbed prompt among the prompts."""
        by_id = {prompt.id: prompt for prompt in prompts}
        slots = [
            (base_of(prompt, by_id), prompt, role)
            for prompt in prompts
            if (role := role_of(prompt)) is not None and role.kind == "perturbed"
        ]
        conversations = [conversation(base.text, prompt.text, base.category, self.style) for base, prompt, _ in slots]
        seeds = [derive(self.seed, prompt.id, "densify") for _, prompt, _ in slots]
        texts = write_all(self.policy, conversations, seeds, self.decoding, "writing detailed prompts")
        return collect(texts, [partial(_dense, *slot) for slot in slots])


def _dense(base: Prompt, prompt: Prompt, role: Role, text: str) -> list[Prompt]:
    found = read(text)
    return [dense(base, role.slot, role.edit, found.base), dense(prompt, role.slot, role.edit, found.perturbed)]
