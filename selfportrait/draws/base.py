"""What every draw offers: the noise levels and noise at which a group's log-likelihoods are evaluated.

Read this before writing a draw; a recipe asks for one draw at a time and averages over several.
"""

from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, runtime_checkable

import torch

from selfportrait.types import Draw

__all__ = ["GroupDraw", "Inverts", "Rows", "Steps"]


class GroupDraw(Protocol):
    """Draw sigma (P, G) in (0, 1] and noise (P, G, ...) for clean latents (P, G, ...)."""

    def __call__(self, latents: torch.Tensor, generator: torch.Generator) -> Draw:
        """Return one draw for every candidate; `generator` is a CPU generator, so every device draws the same."""
        ...


class Rows(Protocol):
    """The conditioning of some rows, of which the draw knows nothing else."""

    def rows(self, index: torch.Tensor) -> Self:
        """That of fewer rows."""
        ...


class Steps(Protocol):
    """What an inversion needs of a model; shapes and meaning are those of `Denoises` in models/base.py."""

    def reference(self) -> AbstractContextManager[None]: ...

    def step(
        self,
        noisy: torch.Tensor,
        conditioning: Any,
        sigma: torch.Tensor,
        to: torch.Tensor,
        guidance_scale: float = 1.0,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor: ...

    def noise_in(self, noisy: torch.Tensor, content: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class Inverts(Protocol):
    """A draw whose noise is found in the pictures, once their prompts are encoded."""

    def invert(self, latents: torch.Tensor, conditioning: Rows, sigma: torch.Tensor) -> torch.Tensor:
        """Find the noise (B, ...) of clean latents (B, ...) at noise levels sigma (B,)."""
        ...
