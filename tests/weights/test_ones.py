"""Every token counts the same."""

import torch

from selfportrait.weights.ones import ones


def test_weights_are_ones_of_the_tokens_shape() -> None:
    weights = ones(torch.zeros(2, 6, dtype=torch.long), None)
    assert torch.equal(weights, torch.ones(2, 6))
