"""Losses for pairs added up, each with a weight: a new mixture is a config, not a new loss.

Read this to see how OSPO's objective is put together from simpo and sft.
"""

from selfportrait.losses.base import PairLogps, Term
from selfportrait.types import LossOutput

__all__ = ["weighted_sum"]


def weighted_sum(policy: PairLogps, reference: PairLogps | None, *, terms: dict[str, Term]) -> LossOutput:
    """Add other losses for pairs, such as `terms: {simpo: {gamma: 2.5}, sft: {weight: 2}}`, which is OSPO's objective.

    Equation: L = sum_k weight_k L_k; a weight is 1 where a config gives none.
    Shapes: every log-likelihood is (B,); returns a loss of (B,).
    Source: object-weighted SimPO + 2 SFT of OSPO, https://arxiv.org/abs/2506.02015.
    Differs from the source: nothing. Each term's mean loss, without its weight, is the metric loss/<term>; of a metric
        that several terms have, the first term's is kept (logp/chosen and logp/rejected are the same in all).
    """
    outputs = {name: term.loss(policy, reference) for name, term in terms.items()}
    loss = sum((term.weight * outputs[name].loss for name, term in terms.items()), start=policy.chosen.new_zeros(()))
    metrics = {f"loss/{name}": output.loss.detach().mean() for name, output in outputs.items()}
    for output in reversed(outputs.values()):
        metrics |= output.metrics
    return LossOutput(loss, metrics)
