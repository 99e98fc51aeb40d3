"""What every selection of groups offers: rewards in, advantages and the groups worth training on out.

Read this before writing a selection; a recipe knows nothing more about it than this.
"""

from typing import NamedTuple, Protocol

import torch

__all__ = ["Groups", "Selection"]


class Groups(NamedTuple):
    """Advantages (P, G), 0 for a missing reward and for a group left out; keep (P,) is False for a group left out."""

    advantages: torch.Tensor
    keep: torch.Tensor


class Selection(Protocol):
    """Turn the rewards of P prompts with G candidates each, NaN where a judgement is missing, into advantages."""

    def __call__(self, rewards: torch.Tensor) -> Groups:
        """Map rewards (P, G) to advantages (P, G) and keep (P,)."""
        ...
