"""The roles of prompts that were made from prompts, and which two of them a slot sets against each other.

Read this to see how a base prompt, its perturbed prompts and the detailed versions of both hang together. Slot i of a
prompt is its i-th perturbed prompt; the pictures of slot i are compared with each other and with no others.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from selfportrait.types import Prompt

__all__ = ["Role", "SlotPair", "base_of", "dense", "perturbed", "role_of", "slot_pairs"]


class Role(NamedTuple):
    """What a prompt was made to be, in which slot; `edit` is how it was perturbed."""

    kind: Literal["perturbed", "dense", "dense-perturbed"]
    slot: int
    edit: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, str(self.slot), self.edit) if part)


class SlotPair(NamedTuple):
    """One slot: the prompt that training and questions use, and the two that its pictures are drawn from.

    Both are drawn with the same seed, which helps them to share a background.
    """

    base: Prompt
    slot: int
    edit: str
    chosen: Prompt
    rejected: Prompt


def perturbed(base: Prompt, slot: int, edit: str, text: str) -> Prompt:
    """A prompt that no longer describes the base prompt's picture."""
    role = Role("perturbed", slot, edit)
    return Prompt(f"{base.id}-perturbed-{slot}", text, base.category, parent=base.id, role=str(role))


def dense(prompt: Prompt, slot: int, edit: str, text: str) -> Prompt:
    """The detailed version of a base or perturbed prompt for one slot."""
    role = Role("dense" if prompt.role is None else "dense-perturbed", slot, edit)
    id = f"{prompt.id}-dense-{slot}" if prompt.role is None else f"{prompt.id}-dense"
    return Prompt(id, text, prompt.category, parent=prompt.id, role=str(role))


def role_of(prompt: Prompt) -> Role | None:
    """The role of a prompt, None for a base prompt; raises ValueError for a role that is none of ours."""
    if prompt.role is None:
        return None
    kind, _, rest = prompt.role.partition(" ")
    slot, _, edit = rest.partition(" ")
    for known in ("perturbed", "dense", "dense-perturbed"):
        if kind == known and slot.isdigit():
            return Role(known, int(slot), edit)
    raise ValueError(
        f"the prompt {prompt.id} has the role {prompt.role!r}: expected perturbed, dense or dense-perturbed, then the "
        "number of its slot"
    )


def slot_pairs(prompts: Sequence[Prompt]) -> list[SlotPair]:
    """The slots of every base prompt, in the order of the perturbed prompts.

    Where any prompt was detailed, pictures are drawn from the detailed prompts, and a slot that lacks one is skipped;
    otherwise they are drawn from the short ones. Raises ValueError for a perturbed prompt without its base prompt.
    """
    roles = [(prompt, role_of(prompt)) for prompt in prompts]
    by_id = {prompt.id: prompt for prompt in prompts}
    versions = {
        (prompt.parent, role.slot): prompt for prompt, role in roles if role is not None and role.kind != "perturbed"
    }
    pairs = []
    for prompt, role in roles:
        if role is None or role.kind != "perturbed":
            continue
        base = base_of(prompt, by_id)
        chosen, rejected = versions.get((base.id, role.slot)), versions.get((prompt.id, role.slot))
        if not versions:
            chosen, rejected = base, prompt
        if chosen is not None and rejected is not None:
            pairs.append(SlotPair(base, role.slot, role.edit, chosen, rejected))
    return pairs


def base_of(prompt: Prompt, by_id: Mapping[str, Prompt]) -> Prompt:
    """The prompt that a perturbed prompt was made from; raises ValueError where it is not given."""
    base = by_id.get(prompt.parent or "")
    if base is None:
        raise ValueError(f"the perturbed prompt {prompt.id} has no base prompt {prompt.parent!r}: give both together")
    return base
