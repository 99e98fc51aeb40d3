"""From attention maps to soft object masks: Otsu's threshold, and the blur that softens a mask's edge.

Read this beside object_mask, which puts them together.
"""

import torch
from torch.nn import functional as F

__all__ = ["is_constant", "min_max", "otsu", "soften"]

BINS = 256


def otsu(maps: torch.Tensor) -> torch.Tensor:
    """Find the value that parts each map best: maps (N, T) to thresholds (N,), in float64.

    The histogram has 256 bins over the map's own range; the threshold is the centre of the bin after which a split
    maximises the variance between the two parts, the lowest one if several do (as in scikit-image).
    """
    values = maps.double()
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)  # (N, 1)
    edges = low + (high - low) * torch.arange(BINS + 1, device=maps.device) / BINS  # (N, 257)
    bins = torch.searchsorted(edges[:, 1:-1].contiguous(), values, right=True)  # (N, T)
    counts = torch.zeros_like(edges[:, 1:]).scatter_add_(1, bins, torch.ones_like(values))  # (N, 256)
    centres = (edges[:, 1:] + edges[:, :-1]) / 2  # (N, 256)
    below, mass = counts.cumsum(1)[:, :-1], (counts * centres).cumsum(1)  # (N, 255), (N, 256)
    above = values.shape[1] - below
    mean_below, mean_above = mass[:, :-1] / below, (mass[:, -1:] - mass[:, :-1]) / above
    best = (below * above * (mean_below - mean_above).square()).argmax(1, keepdim=True)
    return centres.gather(1, best).squeeze(1)


def soften(masks: torch.Tensor, gamma: float) -> torch.Tensor:
    """Blur masks (B, h, w), stretch them to [0, 1] and raise them to a power.

    The blur is Gaussian, 5 x 5 with sigma 1, with zeros beyond the border, which darkens what touches it.
    """
    offsets = torch.arange(-2, 3, device=masks.device, dtype=torch.float32)
    kernel = torch.exp(-offsets.square() / 2)
    kernel = torch.outer(kernel, kernel) / kernel.sum().square()
    blurred = F.conv2d(masks.float().unsqueeze(1), kernel.expand(1, 1, 5, 5), padding=2).squeeze(1)  # (B, h, w)
    return min_max(blurred) ** gamma


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Stretch each map (..., h, w) to [0, 1]; a constant one becomes 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


def is_constant(maps: torch.Tensor) -> torch.Tensor:
    """Say which maps (..., h, w) have one value only: (..., 1, 1)."""
    return maps.amin((-2, -1), keepdim=True) == maps.amax((-2, -1), keepdim=True)
