"""The head of two judges: five linear layers in a row, without anything between them.

Read this before adding the activations that look forgotten: the published heads were trained without.
"""

import torch

__all__ = ["linear_head"]

WIDTHS = (1024, 128, 64, 16, 1)


def linear_head(width: int) -> torch.nn.Sequential:
    """Linear layers width-1024-128-64-16-1, (B, width) -> (B, 1), numbered 0, 2, 4, 6, 7 as in the published files.

    The numbers between are dropout, which does nothing here.
    """
    sizes = [width, *WIDTHS]
    linear = [torch.nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False)]
    nothing = torch.nn.Identity
    first, second, third, fourth, fifth = linear
    return torch.nn.Sequential(first, nothing(), second, nothing(), third, nothing(), fourth, fifth)
