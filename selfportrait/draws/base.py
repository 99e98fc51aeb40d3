"""What every draw offers: the noise levels and noise at which a group's log-likelihoods are evaluated.

Read this before writing a draw; a recipe asks for one draw at a time and averages over several.
"""

from typing import Protocol, runtime_checkable

import torch

from selfportrait.models.base import Conditioning
from selfportrait.types import Draw

__all__ = ["GroupDraw", "Inverts"]


class GroupDraw(Protocol):
    """Draw sigma (P, G) in (0, 1] and noise (P, G, ...) for clean latents (P, G, ...)."""

    def __call__(self, latents: torch.Tensor, generator: torch.Generator) -> Draw:
        """Return one draw for every candidate; `generator` is a CPU generator, so every device draws the same."""
        ...


@runtime_checkable
class Inverts(Protocol):
    """A draw whose noise is found in the pictures, once their prompts are encoded."""

    def invert(self, latents: torch.Tensor, conditioning: Conditioning, sigma: torch.Tensor) -> torch.Tensor:
        """Find the noise (B, ...) of clean latents (B, ...) at noise levels sigma (B,)."""
        ...
