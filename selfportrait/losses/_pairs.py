"""What the losses for pairs share: the mean over tokens, the log-sigmoid with label smoothing, and the metrics.

Read this to see what "reward/margin", "reward/accuracy" and "logp/chosen" in the metrics are.
"""

import torch
from torch.nn import functional as F

from selfportrait.losses.base import PairLogps

__all__ = ["log_ratios", "logp_metrics", "means", "reward_metrics", "smoothed"]

SATURATED = 4.0


def log_ratios(policy: PairLogps, reference: PairLogps) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtract the reference's log-likelihoods of the chosen and rejected candidates, in float32."""
    return _float(policy.chosen) - _float(reference.chosen), _float(policy.rejected) - _float(reference.rejected)


def means(logps: PairLogps, lengths: PairLogps | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide the log-likelihoods of the chosen and rejected candidates by their lengths, or by others', in float32."""
    by = logps if lengths is None else lengths
    return _float(logps.chosen) / by.chosen_length, _float(logps.rejected) / by.rejected_length


def smoothed(margin: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Minus the log-likelihood of a preference that is the wrong way round with probability `label_smoothing`."""
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def logp_metrics(policy: PairLogps) -> dict[str, torch.Tensor]:
    """Average the log-likelihoods a token, whatever the weights, so that losses and runs can be compared.

    When logp/chosen falls, the policy forgets what it should prefer; a uniform guess among V tokens has -log V.
    """
    chosen, rejected = means(policy.plain)
    return {"logp/chosen": chosen.detach().mean(), "logp/rejected": rejected.detach().mean()}


def reward_metrics(policy: PairLogps, chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, torch.Tensor]:
    """Average the implicit rewards, their margin and the share of pairs in the right order (a tie counts half).

    Saturated is the share of pairs whose margin is so large, either way, that a sigmoid has 2 % of its slope left.
    """
    margin = (chosen - rejected).detach()
    return {
        "reward/chosen": chosen.detach().mean(),
        "reward/rejected": rejected.detach().mean(),
        "reward/margin": margin.mean(),
        "reward/accuracy": (margin.sign() + 1).mean() / 2,
        "reward/saturated": (margin.abs() > SATURATED).to(margin.dtype).mean(),
        **logp_metrics(policy),
    }


def _float(values: torch.Tensor) -> torch.Tensor:
    """At least float32: half precision loses the difference of two log-likelihoods, which a loss then multiplies."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
