"""What every loss for groups offers: log-likelihoods and advantages in, one loss a candidate out.

Read this before writing a loss: no model, device, logging, randomness or averaging belongs in one.
"""

from typing import Protocol

import torch

from selfportrait.types import LossOutput

__all__ = ["GroupLoss"]


class GroupLoss(Protocol):
    """Weigh the log-likelihood of each candidate by how it did in its group."""

    def __call__(self, policy: torch.Tensor, old: torch.Tensor | None, advantages: torch.Tensor) -> LossOutput:
        """Map log-likelihoods and advantages, both (..., G), to a loss (..., G).

        `policy` is the model in training, `old` the model that drew the candidates, at the same draw and without
        gradient; a recipe computes `old` only for a loss whose settings ask for it and hands None otherwise.
        """
        ...
