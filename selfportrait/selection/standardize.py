"""GPO's selection: every candidate of a group, weighted by its z-score.

Read this to see how a reward becomes an advantage.
"""

import torch

from selfportrait.selection._groups import deviations
from selfportrait.selection.base import Groups

__all__ = ["standardize"]


def standardize(rewards: torch.Tensor) -> Groups:
    """Standardise the rewards within each group: advantage = (reward - mean) / population std.

    The std has no epsilon, which would shrink the advantages of a judge with a small scale; instead a group without
    spread is left out (max - min <= 1e-8). A missing reward (NaN) enters neither mean nor std and gets advantage 0.

    Shapes: rewards (P, G); returns advantages (P, G) of the same dtype and keep (P,).
    """
    centred, present, keep = deviations(rewards)
    std = (centred.square().sum(dim=1) / present.sum(dim=1)).sqrt()  # (P,)
    advantages = centred / torch.where(keep, std, 1.0).unsqueeze(1)  # (P, G)
    return Groups(advantages.to(rewards.dtype), keep)
