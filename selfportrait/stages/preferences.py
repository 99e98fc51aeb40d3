"""From scores to preferences: groups with advantages, or pairs with margins.

Read this to see what a recipe trains on, and which prompts it does not train on.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from selfportrait.types import Prompt

__all__ = ["preference_rows"]


def preference_rows(
    ids: Sequence[str], prompts: Sequence[Prompt], step: int, rewards: Tensor, advantages: Tensor, keep: Tensor
) -> list[dict[str, Any]]:
    """Groups as rows of preferences/, one a candidate; a missing reward is null."""
    size = advantages.shape[1]
    return [
        {
            "candidate_id": id_,
            "group_id": f"{prompts[row // size].id}@{step}",
            "step": step,
            "reward": None if math.isnan(reward) else reward,
            "advantage": advantage,
            "kept": bool(keep[row // size]),
        }
        for row, (id_, reward, advantage) in enumerate(
            zip(ids, rewards.flatten().tolist(), advantages.flatten().tolist(), strict=True)
        )
    ]
