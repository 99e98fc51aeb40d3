"""No weighting: every token counts the same.

Read this beside object_mask, which it is the ablation of.
"""

import torch

__all__ = ["ones"]


def ones(tokens: torch.Tensor, maps: None) -> torch.Tensor:
    """Weigh every token 1.

    Shapes: tokens (B, T); returns weights (B, T). The maps are not used.
    """
    return torch.ones(tokens.shape, device=tokens.device)
