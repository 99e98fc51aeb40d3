"""Supervised fine-tuning on the chosen candidate: alone a baseline, in a sum what keeps the chosen likely.

Read this beside sum, which adds it to a loss that only looks at differences.
"""

from selfportrait.losses._pairs import logp_metrics, means
from selfportrait.losses.base import PairLogps
from selfportrait.types import LossOutput

__all__ = ["sft"]


def sft(policy: PairLogps, reference: None) -> LossOutput:
    """Raise the chosen's mean log-likelihood, whatever the weights (cross-entropy over its tokens).

    Equation: L = -(1 / T) sum_t l_t of the chosen; for a diffusion or flow model its mean squared error.
    Shapes: every log-likelihood is (B,); returns a loss of (B,). The reference and the rejected are not used.
    Source: the second term of OSPO's objective, https://arxiv.org/abs/2506.02015, without object mask as in its code,
        https://github.com/KU-AGI/OSPO/tree/60db358.
    Differs from the source: nothing.
    """
    chosen, _ = means(policy.plain)
    return LossOutput(-chosen, logp_metrics(policy))
