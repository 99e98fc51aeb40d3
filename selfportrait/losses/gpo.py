"""Group preference optimisation: raise what did better than its group, lower what did worse.

Read this with docs/methods/gpo.md; the advantages come from a selection.
"""

from typing import Annotated

import torch
from pydantic import Field

from selfportrait.losses._errors import errors_by_sign
from selfportrait.types import LossOutput

__all__ = ["gpo"]


def gpo(
    policy: torch.Tensor,
    old: torch.Tensor | None,
    advantages: torch.Tensor,
    *,
    guard: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
) -> LossOutput:
    """Weigh each denoising error of a group by the candidate's advantage (Chen et al., 2025).

    Equation: L_i = A_i e_i,  e_i = -policy_i = mean (target - prediction)^2.
        With guard g, e_i carries no gradient once it left the old error in the direction it is pushed:
        A_i > 0 and e_i < (1 - g) e_old_i,  or  A_i < 0 and e_i > (1 + g) e_old_i.
    Shapes: policy, old and advantages are (..., G); returns a loss of (..., G). old may be None without guard.
    Source: Eq. 5 of https://arxiv.org/abs/2505.11070; the guard has the form of the one in DGPO,
        https://arxiv.org/abs/2510.08425.
    Differs from the source: the reference error, A_i e_ref_i, is left out: it has no gradient, so only the value
        changes: it is not 0 on the first update. The error is the mean over elements, not the squared norm; the
        recipe averages over candidates and draws where the paper sums. The target is the network's own (velocity for
        flow models) where the paper writes noise. The guard is not in the paper and is off by default; DGPO's
        compares exp(e_old - e) with 1 -+ g, here the bound is relative to the old error, so that it means the same
        at every noise level.

    Raises ValueError when guard is set and old is None.
    """
    metrics = errors_by_sign(policy, advantages)
    if guard is not None:
        if old is None:
            raise ValueError(
                f"gpo with guard={guard} got no old log-likelihoods, which the guard compares with; "
                "pass them, or leave guard unset."
            )
        stopped = has_left(-policy.detach(), -old.detach(), advantages, guard)
        policy = torch.where(stopped, policy.detach(), policy)
        metrics["guard/stopped"] = stopped.float().mean()
    return LossOutput(-advantages * policy, metrics)


def has_left(error: torch.Tensor, old_error: torch.Tensor, advantages: torch.Tensor, guard: float) -> torch.Tensor:
    """Say which errors moved by more than `guard`, relative to the old ones, the way their advantage pushes them."""
    pulled_in = (advantages > 0) & (error < (1 - guard) * old_error)
    pushed_away = (advantages < 0) & (error > (1 + guard) * old_error)
    return pulled_in | pushed_away
