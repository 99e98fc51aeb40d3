"""Simple preference optimisation: no reference, the mean log-likelihood of a token is the reward.

Read this beside dpo. OSPO's object-weighted SimPO is this loss on weighted log-likelihoods, summed with sft.
"""

from typing import Annotated, Literal

from pydantic import Field

from selfportrait.losses._pairs import means, reward_metrics, smoothed
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["simpo"]


def simpo(
    policy: PairLogps,
    reference: None,
    *,
    beta: Annotated[float, Field(gt=0)] = 5.0,
    gamma: Annotated[float, Field(ge=0)] = 2.5,
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
    divide_by: Literal["weight", "tokens"] = "weight",
) -> LossOutput:
    """Put the chosen's mean log-likelihood above the rejected's by a target margin (Meng et al., 2024).

    Equation: L = -(1 - s) log sigmoid(z) - s log sigmoid(-z),  z = beta (p_c / n_c - p_r / n_r) - gamma,
        p = sum_t w_t l_t,  n = sum_t w_t, or the number of tokens with divide_by "tokens", s the label smoothing.
        At equal rewards L = -log sigmoid(-gamma).
    Shapes: every log-likelihood is (B,); returns a loss of (B,). The reference is not used.
    Source: Eq. 6 of https://arxiv.org/abs/2405.14734. Weights and default numbers are OSPO's: its code,
        https://github.com/KU-AGI/OSPO/tree/60db358, divides by the weight, its paper by the number of tokens.
    Differs from the source: gamma is absolute, in units of the reward, as in the paper and in TRL's simpo_gamma; the
        code of SimPO and OSPO sets gamma / beta instead (0.5 for 2.5 / 5). The lengths are not clamped to at least 1.
    """
    mean_chosen, mean_rejected = means(policy, policy if divide_by == "weight" else policy.plain)
    chosen, rejected = beta * mean_chosen, beta * mean_rejected
    loss = smoothed(chosen - rejected - gamma, label_smoothing)
    return LossOutput(loss, reward_metrics(policy, chosen, rejected))
