"""The ablation of GPO's selection: above the mean of the group counts +1, below it -1.

Read this beside standardize, which it replaces in the paper's comparison.
"""

import torch

from selfportrait.selection._groups import MIN_SPREAD, deviations
from selfportrait.selection.base import Groups

__all__ = ["sign"]


def sign(rewards: torch.Tensor) -> Groups:
    """Keep only on which side of the group mean a reward lies: advantage = sign(reward - mean).

    A reward within 1e-8 of the mean is on it and gets 0, so that rounding does not decide; missing rewards (NaN) and
    groups without spread are treated as by `standardize`.

    Shapes: rewards (P, G); returns advantages (P, G) of the same dtype and keep (P,).
    """
    centred, _, keep = deviations(rewards)
    advantages = torch.where(centred.abs() > MIN_SPREAD, centred.sign(), 0.0)  # (P, G)
    return Groups(advantages.to(rewards.dtype), keep)
