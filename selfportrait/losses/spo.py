"""Step-wise preference optimisation: DPO on one step of the sampler, with log-ratios that are clipped as in PPO.

Read this beside dpo; the same loss with other numbers is that of LPO and D3PO.
"""

import math
from typing import Annotated

import torch
from pydantic import Field

from selfportrait.losses._pairs import log_ratios, reward_metrics
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["spo"]


def spo(
    policy: PairLogps,
    reference: PairLogps,
    *,
    beta: Annotated[float, Field(gt=0)] = 10.0,
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    two_sided: bool = True,
) -> LossOutput:
    """Classify which of two next steps was chosen, by log-ratios that cannot leave a band (Liang et al., 2024).

    Equation: L = -log sigmoid(beta log rho_c - beta log rho_r),  rho = min(max(exp(p - r), 1 - e), 1 + e),
        p and r the log-likelihoods of a step under policy and reference, e the clip.
        At policy = reference every loss is log 2.
        With `two_sided` false only the side towards which a step is pushed is clipped: a chosen above 1 + e, a rejected
        below 1 - e.
    Shapes: every log-likelihood is (B,), the mean over the picture's elements; returns a loss of (B,).
    Source: Eq. 11 of https://arxiv.org/abs/2406.04314 and its code, https://github.com/RockeyCoss/SPO/tree/27a8642.
        LPO, https://arxiv.org/abs/2502.01051, has beta = 500, D3PO, https://arxiv.org/abs/2311.13231, beta = 0.1.
    Differs from the source: nothing with `two_sided`, which stops the gradient also of a chosen that got worse; without
        it such a step is still learnt from.
    """
    low, high = math.log1p(-clip), math.log1p(clip)
    ratio_chosen, ratio_rejected = log_ratios(policy, reference)
    chosen = ratio_chosen.clamp(min=low if two_sided else None, max=high)
    rejected = ratio_rejected.clamp(min=low, max=high if two_sided else None)
    is_clipped = torch.cat([chosen != ratio_chosen, rejected != ratio_rejected])
    loss = -torch.nn.functional.logsigmoid(beta * (chosen - rejected))
    metrics = reward_metrics(policy, beta * ratio_chosen.detach(), beta * ratio_rejected.detach())
    return LossOutput(loss, {"clipped": is_clipped.float().mean(), **metrics})
