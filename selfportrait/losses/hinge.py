"""Hinge loss on a pair: like DPO, but a pair that is far enough apart is left alone, and no pair pulls harder.

Read this beside dpo, whose log-sigmoid it replaces by a ramp.
"""

from typing import Annotated

from pydantic import Field

from selfportrait.losses._pairs import log_ratios, reward_metrics
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["hinge"]


def hinge(policy: PairLogps, reference: PairLogps, *, beta: Annotated[float, Field(gt=0)] = 0.2) -> LossOutput:
    """Ask for a margin of 1 between the rewards of a pair (Zhao et al., 2023).

    Equation: L = max(0, 1 - z),  z = beta [(p_c - r_c) - (p_r - r_r)],
        p and r the log-likelihoods under policy and reference. At policy = reference every loss is 1.
    Shapes: every log-likelihood is (B,); returns a loss of (B,).
    Source: Eq. 2 of https://arxiv.org/abs/2305.10425, with the log-ratios of Table 2 of
        https://arxiv.org/abs/2309.06657; the Diffusion-DPO example of diffusers offers it.
    Differs from the source: nothing. For a diffusion or flow model the log-likelihood is minus the mean squared error,
        without a half: see dpo.
    """
    ratio_chosen, ratio_rejected = log_ratios(policy, reference)
    chosen, rejected = beta * ratio_chosen, beta * ratio_rejected
    return LossOutput((1 - (chosen - rejected)).clamp(min=0), reward_metrics(policy, chosen, rejected))
