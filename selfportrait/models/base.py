"""What a model offers to the rest: small protocols, so that a recipe asks for what it needs and no more.

Read this before adding a model family. A model never sees a loss.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from PIL import Image

from selfportrait.types import Draw

__all__ = ["Conditioning", "Draws", "Samples"]


class Conditioning(NamedTuple):
    """Encoded prompts: context (B, T, D) and pooled (B, P)."""

    context: torch.Tensor
    pooled: torch.Tensor

    def repeat(self, count: int) -> "Conditioning":
        """Each prompt `count` times in a row: (B * count, ...)."""
        return Conditioning(*(part.repeat_interleave(count, 0) for part in self))

    def rows(self, index: torch.Tensor | slice) -> "Conditioning":
        """The conditioning of some rows."""
        return Conditioning(*(part[index] for part in self))


class Samples(NamedTuple):
    """Pictures and the clean latents (B, C, H, W) that they were decoded from, in the space of the denoiser."""

    images: list[Image.Image]
    latents: torch.Tensor


class Draws(Protocol):
    """A model that draws pictures and says how likely it was to draw one."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts; each distinct text once in the life of the model."""
        ...

    def sample(self, conditioning: Conditioning, seeds: Sequence[int]) -> Samples:
        """Draw one picture a row and seed."""
        ...

    def log_likelihood(
        self, latents: torch.Tensor, conditioning: Conditioning, draw: Draw, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Minus the (weighted) denoising error at a draw: (B,), differentiable in the policy's weights."""
        ...

    def load(self) -> object:
        """Bring the weights; everything before it is cheap."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the network is what it was before training, without gradient."""
        ...

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that learn, by name."""
        ...

    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that training must leave alone, by name."""
        ...

    def save(self, folder: Path) -> None:
        """Write what a user takes away."""
        ...
