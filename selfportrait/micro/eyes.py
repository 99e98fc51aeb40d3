"""What the micro token model is to say of a picture while it learns to look, beside the answers to questions.

Read this to see how it learns where things stand: its vision encoder says what is in each cell, and at each kind that a
question names the language model says how many of it there are, and where. From yes and no alone, counts, relations and
places stay near chance; Janus has seen far more pictures before it is ever asked about one.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfportrait.micro.language import plural
from selfportrait.micro.world import COLOURS, GRID, RADII, SHAPES, SIDE
from selfportrait.types import Detection

__all__ = ["EMPTY", "Nouns", "cells", "cells_loss", "kinds_loss", "new_heads"]

EMPTY = -1  # the number of a cell in which no shape has its centre
EMPTY_WEIGHT = 0.2  # of such a cell against one with a shape: most are empty
PLACE_WEIGHT = 0.3  # of a cell's row and column against what stands there
MOST = 6  # shapes of a kind that are told from more
HALVES = 2 * GRID - 1  # rows, or columns, of the middle of several shapes, to half a cell
NO_WORD, ANY = -1, -2  # in tables by token: not such a word, and the word for a shape of any kind
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
    sizes |= {"count": MOST + 1, "middle_row": HALVES, "middle_column": HALVES}
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
    said = {name: heads[name](first).float() for name in (*_NAMES, "kind", "row", "column")}
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


class Nouns:
    """The kinds that texts name, found by their tokens: which shape, and the colour and size before it."""

    def __init__(self, tokenizer: Any) -> None:
        size = len(tokenizer)
        self._shapes, self._colours, self._sizes = (torch.full((size,), NO_WORD) for _ in range(3))
        for table, names in ((self._colours, COLOURS), (self._sizes, RADII)):
            for number, name in enumerate(names):
                table[_token(tokenizer, name)] = number
        for number, name in (*enumerate(SHAPES), (ANY, "shape")):
            for noun in (name, plural(name)):
                self._shapes[_token(tokenizer, noun)] = number

    def of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where kinds are named in ids (..., L), True in (..., L), and colour, shape and size of each: (M, 3)."""
        ids = ids.cpu()
        before = F.pad(ids, (2, 0))
        colours, shapes = self._colours[before[..., 1:-1]], self._shapes[ids]
        sizes = self._sizes[torch.where(colours == NO_WORD, before[..., 1:-1], before[..., :-2])]
        is_named = shapes != NO_WORD
        return is_named, torch.stack([colours, shapes, sizes], -1)[is_named]


def _token(tokenizer: Any, word: str) -> int:
    """The token of a word in the middle of a text; the last one of a word that has several."""
    ids: list[int] = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return ids[-1]


def kinds_loss(heads: nn.ModuleDict, hidden: Tensor, ids: Tensor, numbers: Tensor, nouns: Nouns) -> Tensor:
    """The cross-entropies of how many there are of each kind that is named, and where their middle is.

    hidden (B, Q, L, D) are the states at the tokens ids (B, Q, L) of questions about a picture with cells (B, 3, G, G).
    """
    is_named, named = nouns.of(ids)
    is_named, named = is_named.to(hidden.device), named.to(hidden.device)
    states = hidden[is_named]  # (M, D)
    picture = torch.arange(len(ids), device=hidden.device)[:, None, None].expand_as(is_named)[is_named]
    there = numbers[picture]  # (M, 3, G, G)
    wanted = named[..., None, None]
    is_one = ((there == wanted) | (wanted < 0)).all(1) & (there[:, 1] != EMPTY)  # (M, G, G)
    count = is_one.sum((1, 2))
    losses = [_mean_loss(heads["count"](states), count.clamp(max=MOST))]
    is_found = count > 0
    for axis, name in ((2, "middle_row"), (1, "middle_column")):
        places = (is_one.sum(axis) * torch.arange(GRID, device=hidden.device)).sum(1) / count.clamp(min=1)
        losses.append(_mean_loss(heads[name](states[is_found]), (2 * places[is_found]).round().long()))
    return torch.stack(losses).sum()


def _mean_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """The mean cross-entropy; 0 of nothing."""
    return F.cross_entropy(logits.float(), truth, reduction="sum") / max(len(truth), 1)
