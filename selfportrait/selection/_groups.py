"""What the selections of groups share: the mean over the rewards that are there, and which groups have any spread.

Read this to see when a group is left out.
"""

import torch

__all__ = ["MIN_SPREAD", "deviations"]

MIN_SPREAD = 1e-8
"""Rewards of a group that differ by no more than this are equal: the group says nothing about its candidates."""


def deviations(rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Subtract the group mean over present rewards, in float64.

    Returns deviations (P, G), 0 where the reward is missing (NaN) or the group is left out; present (P, G), which
    rewards entered the mean; keep (P,), False for a group whose present rewards are equal, or of which fewer than two
    are present. Raises ValueError on an infinite reward or a tensor that is not (P, G).
    """
    if rewards.ndim != 2 or torch.isinf(rewards).any():
        raise ValueError(
            f"rewards cannot be standardised: got shape {tuple(rewards.shape)} with {int(torch.isinf(rewards).sum())} "
            "infinite values, expected (prompts, candidates) of finite numbers; a judge marks what it could not judge "
            "as missing (NaN here)."
        )
    values = rewards.double()
    present = ~torch.isnan(values)  # (P, G)
    mean = values.nanmean(dim=1, keepdim=True)  # (P, 1)
    highest = values.masked_fill(~present, -torch.inf).amax(dim=1)  # (P,)
    lowest = values.masked_fill(~present, torch.inf).amin(dim=1)  # (P,)
    keep = highest - lowest > MIN_SPREAD
    used = present & keep.unsqueeze(1)
    return torch.where(used, values - mean, 0.0), present, keep
