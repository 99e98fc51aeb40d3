"""Log-likelihoods of pairs that several tests of losses share."""

import torch

from selfportrait.losses.base import PairLogps

__all__ = ["OBJECT", "pair", "random_pairs"]


def pair(chosen: float, rejected: float, length: float = 1.0) -> PairLogps:
    """One pair, in float64."""
    return PairLogps(*(torch.tensor([value], dtype=torch.float64) for value in (chosen, rejected, length, length)))


def random_pairs(num_pairs: int, seed: int) -> PairLogps:
    """Pairs of unlike weights, so that weighted and unweighted log-likelihoods differ."""
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = (-3 * torch.rand(num_pairs, 6, generator=generator) for _ in range(2))
    weights = [1 + torch.rand(num_pairs, 6, generator=generator) for _ in range(2)]
    return PairLogps.from_tokens(chosen, rejected, *weights)


def _tokens(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


# Four tokens a picture; the object covers the first two of the chosen and the last two of the rejected, alpha is 1.
# chosen: weighted sum 2 (-2 - 4) - 6 - 8 = -26 of weight 6; plain sum -20 of 4 tokens.
# rejected: weighted sum -3 - 5 + 2 (-6 - 7) = -34 of weight 6; plain sum -21 of 4 tokens.
OBJECT = PairLogps.from_tokens(
    _tokens(-2, -4, -6, -8), _tokens(-3, -5, -6, -7), _tokens(2, 2, 1, 1), _tokens(1, 1, 2, 2)
)
