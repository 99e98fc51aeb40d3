"""What every weighting offers: how much each token of a candidate counts in its log-likelihood.

Read this before writing a weighting; a recipe knows nothing more about it than this.
"""

import inspect
from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["Weights", "needs_maps"]


class Weights(Protocol):
    """Weigh the T tokens of B candidates."""

    def __call__(self, tokens: torch.Tensor, maps: torch.Tensor | None) -> torch.Tensor:
        """Map tokens (B, T) and attention maps (B, objects, h, w) in [0, 1], h w = T, to weights (B, T) in float32.

        A candidate with fewer objects than others has maps of zeros in their place. A weighting that looks at no maps
        declares `maps: None`, and a recipe then makes none.
        """
        ...


def needs_maps(weights: Callable[..., torch.Tensor]) -> bool:
    """Say whether a weighting looks at attention maps: unless it declares `maps: None`."""
    return inspect.signature(weights).parameters["maps"].annotation is not None
