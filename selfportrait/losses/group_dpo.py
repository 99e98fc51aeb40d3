"""Group-DPO: all pairs of a ranked group at once, the step between Diffusion-DPO and GPO.

Read this beside gpo, which replaces the rank by the standardised reward.
"""

import torch

from selfportrait.losses._errors import errors_by_sign
from selfportrait.types import LossOutput

__all__ = ["group_dpo"]


def group_dpo(policy: torch.Tensor, old: torch.Tensor | None, advantages: torch.Tensor) -> LossOutput:
    """Weigh each denoising error of a group by the candidate's rank (Chen et al., 2025).

    Equation: L_i = c_i e_i,  c_i = G - 1 - 2 rank_i,  e_i = -policy_i,  rank 0 the best of G;
        equal advantages share the mean of their coefficients. c_i is the number of candidates that i beats minus
        the number that beat i: what every ordered pair of the group contributes, +1 to the better, -1 to the worse.
    Shapes: policy and advantages are (..., G), ranked along the last axis; returns a loss of (..., G).
    Source: the expansion of Group-DPO over all ordered pairs, before Eq. 5 of https://arxiv.org/abs/2505.11070.
    Differs from the source: the log-sigmoid over pairs is replaced by its first-order term at the reference, with
        the constant beta / 2 left to the learning rate; the reference error has no gradient then and is left out,
        so `old` is not used. The error is the mean over elements.
    """
    wins = torch.sign(advantages.unsqueeze(-1) - advantages.unsqueeze(-2))  # (..., G, G)
    coefficients = wins.sum(dim=-1)  # (..., G)
    return LossOutput(-coefficients * policy, errors_by_sign(policy, coefficients))
