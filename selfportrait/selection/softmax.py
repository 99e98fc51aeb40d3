"""Reward-weighted regression: every candidate is pulled in, the better ones more.

Read this beside standardize, which also pushes away; with the loss gpo it is supervised fine-tuning by rewards.
"""

from typing import Annotated

import torch
from pydantic import Field

from selfportrait.selection.base import Groups
from selfportrait.selection.standardize import standardize

__all__ = ["softmax"]


def softmax(rewards: torch.Tensor, *, temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0) -> Groups:
    """Weigh the candidates of a group by their rewards: advantage = G softmax(z / temperature), z the z-scores.

    The temperature is in standard deviations of the group, so that the scale of the judge does not matter; towards 0 it
    is supervised fine-tuning on the best candidate. The mean over a group of advantage times error is the error's
    weighted mean. Missing rewards (NaN) get 0, groups without spread are left out, as by `standardize`.

    Shapes: rewards (P, G); returns advantages (P, G) of the same dtype and keep (P,).
    Source: reward-weighted regression, as in https://arxiv.org/abs/2302.12192 and the option rwr of
        https://github.com/yifan123/flow_grpo/tree/ac4c86e, which multiplies by the reward itself.
    """
    scores, keep = standardize(rewards.double())
    scores = scores.masked_fill(torch.isnan(rewards), -torch.inf)
    weights = torch.softmax(torch.where(keep.unsqueeze(1), scores, 0.0) / temperature, dim=1)  # (P, G)
    advantages = torch.where(keep.unsqueeze(1), rewards.shape[1] * weights, 0.0)
    return Groups(advantages.to(rewards.dtype), keep)
