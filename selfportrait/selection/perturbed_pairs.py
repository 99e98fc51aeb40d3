"""OSPO's selection: a candidate that shows its prompt against the hard negative that was made beside it.

Read this to see which pairs of a perturbed prompt are trained on, and why others are not.
"""

import random
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from selfportrait.seeds import derive
from selfportrait.selection._pairs import Choice, make_pair, select, value
from selfportrait.selection.base import Judged, Selected

__all__ = ["perturbed_pairs"]


class Slot(NamedTuple):
    """A candidate and the hard negative of the same index."""

    chosen: Judged
    rejected: Judged


def perturbed_pairs(
    judged: Sequence[Judged],
    seed: int,
    *,
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.6,
    choice: Literal["filtered", "random"] = "filtered",
    pairs_per_prompt: Annotated[int, Field(ge=1)] = 1,
) -> Selected:
    """Pair candidates of each prompt with their hard negatives, all asked the questions of the base prompt.

    A candidate is discarded when no question is answered yes or its score is below `min_score`; a hard negative when
    every question is answered yes (a tie is no yes). Of the indices with both left, the highest score of the candidate
    decides, then the lowest index, up to `pairs_per_prompt`. "random" is the ablation: no filter, indices at random. As
    in the source, the scores of a pair are not compared: its margin can be negative.

    Source: filtering and selection of OSPO, https://arxiv.org/abs/2506.02015, whose tau is `min_score`; it keeps one
        pair a prompt.
    Raises ValueError for a candidate without answers, on which the filter rests.
    """

    def choose(group: list[Judged]) -> Choice:
        hard_negatives = {one.index: one for one in group if one.is_hard_negative}
        candidates = sorted((one for one in group if not one.is_hard_negative), key=lambda one: one.index)
        slots = [Slot(one, hard_negatives[one.index]) for one in candidates if one.index in hard_negatives]
        if not slots:
            return "missing scores"
        if choice == "random":
            chance = random.Random(derive(seed, slots[0].chosen.prompt_id, "slot"))
            return [make_pair(*slot) for slot in chance.sample(slots, min(pairs_per_prompt, len(slots)))]
        right = [slot for slot in slots if any(is_yes(slot.chosen)) and value(slot.chosen) >= min_score]
        clear = [slot for slot in right if not all(is_yes(slot.rejected))]
        if not clear:
            return "no hard negative is wrong" if right else "no candidate is right"
        best = sorted(clear, key=lambda slot: -value(slot.chosen))[:pairs_per_prompt]
        return [make_pair(*slot) for slot in best]

    return select(judged, choose)


def is_yes(judged: Judged) -> list[bool]:
    """Say which questions are answered yes."""
    if not judged.answers:
        raise ValueError(
            f"the candidate {judged.candidate_id} has a score but no answers to questions, which perturbed_pairs "
            "filters by; take a judge that asks questions, or selection.choice=random"
        )
    return [answer > 0 for answer in judged.answers]
