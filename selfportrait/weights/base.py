"""What every weighting offers: how much each token of a candidate, or each latent, counts in its log-likelihood.

Read this before writing a weighting; a recipe knows nothing more about it than this. There are two kinds, told apart by
what they take: of tokens by attention maps, and of latents by the instances of a pair.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from selfportrait.boxes import Geometry, Size
from selfportrait.types import Instance

__all__ = ["LatentWeights", "Weights", "from_masks", "mask_of", "needs_maps"]


class Weights(Protocol):
    """Weigh the T tokens of B candidates."""

    def __call__(self, tokens: torch.Tensor, maps: torch.Tensor | None) -> torch.Tensor:
        """Map tokens (B, T) and attention maps (B, objects, h, w) in [0, 1], h w = T, to weights (B, T) in float32.

        A candidate with fewer objects than others has maps of zeros in their place. A weighting that looks at no maps
        declares `maps: None`, and a recipe then makes none; any other has a setting `alpha` and weighs 1 + alpha m
        with a mask m in [0, 1], so that masks can be kept in a table and looked at.
        """
        ...


class LatentWeights(Protocol):
    """Weigh the latents of both pictures of a pair."""

    def __call__(self, instances: Sequence[Instance], chosen: Geometry, rejected: Geometry, grid: Size) -> torch.Tensor:
        """Map instances, in the pixels of the original pictures, to weights (2, 1, h, w) in float32, the chosen first.

        The geometries say how each picture was resized, cropped and mirrored before it was encoded; grid is (w, h).
        The mean of each picture's weights is 1, so that a mean over latents stays one. A recipe without a weighting
        has none of this, and every latent counts 1.
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
