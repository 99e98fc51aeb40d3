"""Identity preference optimisation: like DPO, but a pair that is far enough apart is left alone.

Read this beside dpo, whose log-sigmoid it replaces by a square.
"""

from typing import Annotated

from pydantic import Field

from selfportrait.losses._pairs import means, reward_metrics
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["ipo"]


def ipo(policy: PairLogps, reference: PairLogps, *, beta: Annotated[float, Field(gt=0)] = 0.1) -> LossOutput:
    """Regress the difference of log-ratios to 1 / (2 beta) (Azar et al., 2023).

    Equation: L = (D - 1 / (2 beta))^2,  D = (p_c - r_c) / n_c - (p_r - r_r) / n_r,
        p and r the log-likelihoods under policy and reference, n the lengths. At policy = reference L = 1 / (4 beta^2).
    Shapes: every log-likelihood is (B,); returns a loss of (B,).
    Source: Eq. 17 of https://arxiv.org/abs/2310.12036, its tau is beta; the division by the length follows
        https://github.com/huggingface/trl/blob/f2cd577/trl/trainer/dpo_trainer.py.
    Differs from the source: the paper's log-likelihoods are sums; here, as in TRL, they are means over tokens, so that
        the distance of 1 / (2 beta) means the same for every length.
    """
    policy_chosen, policy_rejected = means(policy)
    reference_chosen, reference_rejected = means(reference)
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    loss = (chosen - rejected - 1 / (2 * beta)) ** 2
    return LossOutput(loss, reward_metrics(policy, beta * chosen, beta * rejected))
