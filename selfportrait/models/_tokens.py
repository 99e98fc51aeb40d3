"""What token models share: prompts as ids, the choice of the next token, and the log-probability of given ones.

Read this to see what decides a token: the logits, a temperature, a nucleus, and noise that only the row's seed decides.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

__all__ = ["EncodedTokens", "chunks", "choose", "gumbel", "guided", "left_pad", "token_logps", "unconditional"]


class EncodedTokens(NamedTuple):
    """The conditioning of a token model: ids (B, P), padded on the left, and mask (B, P), True where they count.

    Both stay on the CPU: the padding decides which attention kernel runs, and a look at it must not wait for a GPU.
    """

    ids: torch.Tensor
    mask: torch.Tensor

    def repeat(self, count: int) -> "EncodedTokens":
        """Each prompt `count` times in a row: (B * count, P)."""
        return EncodedTokens(*(part.repeat_interleave(count, 0) for part in self))

    def rows(self, index: torch.Tensor | slice) -> "EncodedTokens":
        """The conditioning of some rows, without the columns that are padding in all of them."""
        ids, mask = self.ids[index], self.mask[index]
        first = int(mask.any(0).int().argmax())
        return EncodedTokens(ids[:, first:], mask[:, first:])

    def distinct(self) -> tuple["EncodedTokens", torch.Tensor]:
        """Each distinct row once, and where to find the row of every prompt among them: (B,)."""
        both, index = torch.unique(torch.cat([self.ids, self.mask.long()], 1), dim=0, return_inverse=True)
        ids, mask = both.chunk(2, 1)
        return EncodedTokens(ids, mask.bool()), index


def left_pad(rows: Sequence[Sequence[int]], pad: int) -> EncodedTokens:
    """Rows of ids as one tensor; the last id of every row is in the last column."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])
    return EncodedTokens(ids, mask)


def unconditional(prompts: EncodedTokens, pad: int) -> EncodedTokens:
    """The rows that guidance compares with: all between a prompt's first and last token is padding, which counts."""
    ids, counts = prompts.ids, prompts.mask
    starts = counts & ~F.pad(counts, (1, 0))[:, :-1]  # the first column that counts
    inner = ~starts
    inner[:, -1] = False
    return EncodedTokens(ids.masked_fill(inner, pad), counts)


def guided(logits: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Guide conditional logits away from unconditional ones, u + w (c - u): (2 B, V), conditional first, to (B, V)."""
    conditional, without = logits.chunk(2)
    return without.lerp(conditional, guidance_scale)


def gumbel(generators: Sequence[torch.Generator], size: int) -> torch.Tensor:
    """One row of Gumbel noise a generator, (B, size): the argmax of logits plus it is a draw from their softmax.

    Two batches whose logits differ in the last bits draw the same tokens but for near ties; an inverse distribution
    function would carry such bits through a sum over the whole vocabulary.
    """
    uniform = torch.stack([torch.rand(size, generator=generator) for generator in generators])
    return -(-uniform.log()).log()


def choose(
    logits: torch.Tensor, noise: torch.Tensor | None, *, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """Draw a token from each row of logits (B, V): (B,). At temperature 0 it is the likeliest, without noise."""
    if temperature == 0:
        return logits.argmax(-1)
    assert noise is not None
    scaled = logits / temperature
    if top_p < 1:
        scaled = _nucleus(scaled, top_p)
    return (scaled + noise).argmax(-1)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Leave the likeliest tokens that together reach top_p, the last of them included (Holtzman et al., 2020)."""
    ordered, order = logits.sort(-1, descending=True)
    probabilities = ordered.softmax(-1)
    is_beyond = probabilities.cumsum(-1) - probabilities >= top_p  # what comes before already reaches it
    return logits.masked_fill(torch.zeros_like(is_beyond).scatter(-1, order, is_beyond), -torch.inf)


def token_logps(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The log-probability of each token (B, T) under its logits (B, T, V), in float32."""
    losses = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    return -losses.view_as(tokens)


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
