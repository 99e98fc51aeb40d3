"""OSPO's weights: tokens where the prompt's objects are count more.

Read this to see how attention becomes a weight; the steps are in _masks.
"""

from typing import Annotated

import torch
from pydantic import Field

from selfportrait.weights._masks import is_constant, otsu, soften

__all__ = ["object_mask"]


def object_mask(
    tokens: torch.Tensor,
    maps: torch.Tensor,
    *,
    alpha: Annotated[float, Field(ge=0)] = 1.0,
    threshold_scale: Annotated[float, Field(gt=0)] = 0.8,
    blur: bool = True,
    mask_gamma: Annotated[float, Field(gt=0)] = 1.0,
) -> torch.Tensor:
    """Weigh tokens 1 + alpha m, m in [0, 1] the soft mask of the objects in a candidate.

    The map of each object is cut at `threshold_scale` times its Otsu threshold, strictly above; the mask is the union
    over objects, blurred, stretched to [0, 1] and raised to `mask_gamma` (nothing to do with SimPO's gamma), or left
    binary without `blur`. A constant map has no object in it. A mask that is constant is used as it is: blurring and
    stretching a mask of ones would leave a frame.

    Shapes: tokens (B, T), maps (B, objects, h, w) in [0, 1] with h w = T row by row; returns weights (B, T).
    Source: the object masks of OSPO, https://arxiv.org/abs/2506.02015, with the threshold's factor and the blur of its
        code, https://github.com/KU-AGI/OSPO/tree/60db358. The paper's mask is threshold_scale 1 without blur.
    Raises ValueError for maps that do not fit the tokens or leave [0, 1].
    """
    _check(tokens, maps)
    masks = object_masks(maps, threshold_scale)  # (B, h, w)
    if blur:
        masks = torch.where(is_constant(masks), masks, soften(masks, mask_gamma))
    return 1 + alpha * masks.flatten(1)  # (B, T)


def object_masks(maps: torch.Tensor, threshold_scale: float) -> torch.Tensor:
    """Mark where any of the objects is: maps (B, objects, h, w) to masks of 0 and 1 (B, h, w)."""
    thresholds = otsu(maps.flatten(0, 1).flatten(1)).view(*maps.shape[:2], 1, 1)
    inside = (maps > threshold_scale * thresholds) & ~is_constant(maps)
    return inside.any(dim=1).float()


def _check(tokens: torch.Tensor, maps: torch.Tensor) -> None:
    fits = maps.ndim == 4 and (maps.shape[0], maps.shape[-2] * maps.shape[-1]) == tuple(tokens.shape)
    if not fits or not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError(
            f"object_mask got maps {tuple(maps.shape)} for tokens {tuple(tokens.shape)}: expected (B, objects, h, w) "
            "with values in [0, 1] and h times w the number of tokens"
        )
