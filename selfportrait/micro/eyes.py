"""What the micro token model's vision encoder is to say of each cell of a picture, beside the answers to questions.

Read this to see how it learns where things stand. From yes and no alone, counts, relations and places stay near chance;
Janus' own vision encoder has seen far more pictures before it is ever asked about one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfportrait.micro.world import COLOURS, GRID, RADII, SHAPES, SIDE
from selfportrait.types import Detection

__all__ = ["EMPTY", "cells", "cells_loss", "new_heads"]

EMPTY = -1  # the number of a cell in which no shape has its centre
EMPTY_WEIGHT = 0.2  # of such a cell against one with a shape: most are empty
PLACE_WEIGHT = 0.3  # of a cell's row and column against what stands there
_NAMES = {"colour": list(COLOURS), "shape": list(SHAPES), "size": list(RADII)}


def cells(found: Sequence[Detection]) -> Tensor:
    """The colour, shape and size in each cell of the world's grid, as numbers: (3, G, G)."""
    numbers = torch.full((len(_NAMES), GRID, GRID), EMPTY, dtype=torch.int8)
    for one in found:
        x0, y0, x1, y1 = one.box
        row, column = (min(int(middle * GRID / SIDE), GRID - 1) for middle in ((y0 + y1) / 2, (x0 + x1) / 2))
        named = [names.index(one.attributes[key]) for key, names in _NAMES.items()]
        numbers[:, row, column] = torch.tensor(named, dtype=torch.int8)
    return numbers


def new_heads(width: int, *, seed: int) -> nn.ModuleDict:
    """What reads a feature of `width`: linear, so that the language model finds it there; nobody keeps it."""
    sizes = {name: len(names) for name, names in _NAMES.items()}
    sizes |= {"kind": len(COLOURS) * len(SHAPES) + 1, "row": GRID, "column": GRID}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})


def cells_loss(heads: nn.ModuleDict, features: Tensor, numbers: Tensor) -> Tensor:
    """The cross-entropies of what is where, added up, from features (B, P, D) of patches and cells (B, 3, G, G).

    A cell's first patch speaks for it: colour and shape as one kind, which is none in an empty cell, each by itself
    and the size where a shape is, row and column everywhere.
    """
    side = int(features.shape[1] ** 0.5)
    step = side // GRID
    first = features.unflatten(1, (side, side))[:, ::step, ::step]  # (B, G, G, D)
    said = {name: head(first).float() for name, head in heads.items()}
    is_there = numbers[:, 0] != EMPTY
    kinds = torch.where(is_there, numbers[:, 0] * len(SHAPES) + numbers[:, 1] + 1, 0)
    weights = torch.where(is_there, 1.0, EMPTY_WEIGHT).flatten()
    kind = F.cross_entropy(said["kind"].flatten(0, 2), kinds.flatten(), reduction="none")
    losses = [(kind * weights).sum() / weights.sum()]
    losses += [F.cross_entropy(said[name][is_there], numbers[:, axis][is_there]) for axis, name in enumerate(_NAMES)]
    column = torch.arange(GRID, device=numbers.device).expand(len(numbers), GRID, GRID)
    for name, truth in (("row", column.mT), ("column", column)):
        losses.append(PLACE_WEIGHT * F.cross_entropy(said[name].flatten(0, 2), truth.flatten()))
    return torch.stack(losses).sum()
