"""What every draw offers: the noise levels and noise at which a group's log-likelihoods are evaluated.

Read this before writing a draw; a recipe asks for one draw at a time and averages over several.
"""

from typing import Protocol

import torch

from selfportrait.types import Draw

__all__ = ["GroupDraw"]


class GroupDraw(Protocol):
    """Draw sigma (P, G) in (0, 1] and noise (P, G, ...) for clean latents (P, G, ...)."""

    def __call__(self, latents: torch.Tensor, generator: torch.Generator) -> Draw:
        """Return one draw for every candidate; `generator` is a CPU generator, so every device draws the same."""
        ...
