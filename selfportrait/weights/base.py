"""What every weighting offers: how much each token of a candidate counts in its log-likelihood.

Read this before writing a weighting; a recipe knows nothing more about it than this.
"""

import inspect
from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["Weights", "from_masks", "mask_of", "needs_maps"]


class Weights(Protocol):
    """Weigh the T tokens of B candidates."""

    def __call__(self, tokens: torch.Tensor, maps: torch.Tensor | None) -> torch.Tensor:
        """Map tokens (B, T) and attention maps (B, objects, h, w) in [0, 1], h w = T, to weights (B, T) in float32.

        A candidate with fewer objects than others has maps of zeros in their place. A weighting that looks at no maps
        declares `maps: None`, and a recipe then makes none; any other has a setting `alpha` and weighs 1 + alpha m
        with a mask m in [0, 1], so that masks can be kept in a table and looked at.
        """
        ...


def needs_maps(weights: Callable[..., torch.Tensor]) -> bool:
    """Say whether a weighting looks at attention maps: unless it declares `maps: None`."""
    return inspect.signature(weights).parameters["maps"].annotation is not None


def mask_of(weights: Weights, tokens: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """The mask (B, T) in [0, 1] behind a weighting's weights."""
    alpha = _alpha(weights)
    return ((weights(tokens, maps) - 1) / (alpha or 1)).clamp(0, 1)


def from_masks(weights: Weights, masks: torch.Tensor) -> torch.Tensor:
    """The weights that a weighting gives where these are the masks (B, T)."""
    return 1 + _alpha(weights) * masks


def _alpha(weights: Weights) -> float:
    return float(inspect.signature(weights).parameters["alpha"].default)  # also of settings that a config has bound
