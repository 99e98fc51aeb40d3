"""A metric that the group losses share: the denoising error on either side of the group's mean.

Read this to see what "error/above" and "error/below" in the metrics are.
"""

import torch

__all__ = ["errors_by_sign"]


def errors_by_sign(policy: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Average the denoising error over candidates pulled in (weight above 0) and pushed away; NaN where there is none.

    When error/below grows and error/above does not, the model is collapsing.
    """
    error = -policy.detach()
    sides = {"error/above": weights > 0, "error/below": weights < 0}
    return {name: torch.where(side, error, 0.0).sum() / side.sum() for name, side in sides.items()}
