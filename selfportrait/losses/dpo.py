"""Direct preference optimisation: raise the chosen above the rejected, measured from a reference model.

Read this first among the losses for pairs; Diffusion-DPO, InPO, IAPO and SILMM are this one on other log-likelihoods.
"""

from typing import Annotated

from pydantic import Field

from selfportrait.losses._pairs import log_ratios, reward_metrics, smoothed
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["dpo"]


def dpo(
    policy: PairLogps,
    reference: PairLogps,
    *,
    beta: Annotated[float, Field(gt=0)] = 0.2,
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
) -> LossOutput:
    """Classify which candidate of a pair was chosen by its log-ratio (Rafailov et al., 2023).

    Equation: L = -(1 - s) log sigmoid(z) - s log sigmoid(-z),  z = beta [(p_c - r_c) - (p_r - r_r)],
        p and r the log-likelihoods under policy and reference, s the label smoothing.
        At policy = reference every loss is log 2.
    Shapes: every log-likelihood is (B,); returns a loss of (B,).
    Source: Eq. 7 of https://arxiv.org/abs/2305.18290; s > 0 is the conservative DPO of
        https://ericmitchell.ai/cdpo.pdf; the default beta is SILMM's, https://arxiv.org/abs/2412.05818.
    Differs from the source: nothing for tokens, whose log-likelihoods are sums: beta scales with their number, so 0.2
        on 32 tokens acts as 0.011 on 576. For a diffusion or flow model the log-likelihood is minus the mean squared
        error without the half of Diffusion-DPO, https://arxiv.org/abs/2311.12908: its beta of 5000 is 2500 here.
    """
    log_ratio_chosen, log_ratio_rejected = log_ratios(policy, reference)
    chosen, rejected = beta * log_ratio_chosen, beta * log_ratio_rejected
    return LossOutput(smoothed(chosen - rejected, label_smoothing), reward_metrics(policy, chosen, rejected))
