"""Kahneman-Tversky optimisation: each picture is good or bad by itself, measured from what the batch does on average.

Read this beside dpo, which only looks at the difference of a pair. On denoising errors it is Diffusion-KTO.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from selfportrait.losses._pairs import log_ratios, reward_metrics
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["kto"]

Utility = Literal["kahneman_tversky", "loss_averse", "risk_seeking"]


def kto(
    policy: PairLogps,
    reference: PairLogps,
    *,
    beta: Annotated[float, Field(gt=0)] = 0.1,
    desirable_weight: Annotated[float, Field(ge=0)] = 1.0,
    undesirable_weight: Annotated[float, Field(ge=0)] = 1.0,
    utility: Utility = "kahneman_tversky",
) -> LossOutput:
    """Raise what is desirable and lower what is not, each against the batch's mean log-ratio (Li et al., 2024).

    Equation: L = [lambda_d (1 - h(beta (g_c - k))) + lambda_u (1 - h(-beta (g_r - k)))] / 2,
        g = p - r the log-ratio of policy and reference, of the chosen (desirable) and of the rejected (undesirable);
        k = max(0, mean of g over both sides of all pairs), without gradient;
        h = sigmoid; log sigmoid(z) for "loss_averse", -log sigmoid(-z) for "risk_seeking".
        At policy = reference L = (lambda_d + lambda_u) / 4 with the sigmoid.
    Shapes: every log-likelihood is (B,); returns a loss of (B,).
    Source: Eq. 9 of https://arxiv.org/abs/2404.04465 and its code,
        https://github.com/jacklishufan/diffusion-kto/tree/226bbd0; KTO is https://arxiv.org/abs/2402.01306.
    Differs from the source: pictures come in pairs, one of each kind, so that labels are balanced; the mean of the two
        terms is the pair's loss. k is the mean over the pairs of one forward (recipe.pairs_per_forward), as a process
        has it there, and is not gathered: with one pair it is mostly the pair's own log-ratio. The code's default of
        beta is 1000, on mean squared errors, as here for a diffusion or flow model.
    """
    ratio_chosen, ratio_rejected = log_ratios(policy, reference)
    baseline = torch.cat([ratio_chosen, ratio_rejected]).detach().mean().clamp(min=0)
    desirable = desirable_weight * (1 - _value(beta * (ratio_chosen - baseline), utility))
    undesirable = undesirable_weight * (1 - _value(-beta * (ratio_rejected - baseline), utility))
    metrics = reward_metrics(policy, beta * ratio_chosen, beta * ratio_rejected)
    return LossOutput((desirable + undesirable) / 2, {"reward/baseline": beta * baseline, **metrics})


def _value(z: torch.Tensor, utility: Utility) -> torch.Tensor:
    """How much a gain of z is worth: steep around 0, or for losses, or for gains."""
    if utility == "loss_averse":
        return F.logsigmoid(z)
    return z.sigmoid() if utility == "kahneman_tversky" else -F.logsigmoid(-z)
