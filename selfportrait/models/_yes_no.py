"""How likely a decoder is to answer yes or no: many questions about one picture in one row, after one shared prefix.

Read this to see what a question costs: the picture is read once, and each question adds its own few tokens to the row.
A question sees the prefix and itself, at the positions it would have alone, so the answers are those of separate rows.
"""

from collections.abc import Sequence
from typing import Any

import torch

from selfportrait.models._decoder import KeyValues, forward, positions
from selfportrait.models._tokens import left_pad

__all__ = ["last_states", "yes_and_no"]

PADDING = -1  # the number of a question that is none


def last_states(
    decoder: Any, prefix: torch.Tensor, questions: Sequence[Sequence[Sequence[int]]], pad: int
) -> torch.Tensor:
    """The state after the last token of each question, pictures first, then questions: (all questions, D).

    `prefix` (N, P, D) is everything up to the picture's end, embedded; `questions` are the ids that follow, by picture.
    """
    device, length = prefix.device, prefix.shape[1]
    packed = left_pad([[id_ for ids in several for id_ in ids] for several in questions], pad)
    width = packed.ids.shape[1]
    numbers = left_pad([[n for n, ids in enumerate(several) for _ in ids] for several in questions], PADDING).ids
    offsets = left_pad([[at for ids in several for at in range(len(ids))] for several in questions], 0).ids
    is_same = numbers[:, :, None] == numbers[:, None, :]  # (N, L, L)
    seen = torch.cat([torch.ones(len(numbers), width, length, dtype=torch.bool), is_same.tril()], 2)

    cache = KeyValues(length + width)
    start = positions(torch.ones(len(prefix), length, dtype=torch.bool)).to(device)
    forward(decoder, prefix, start, None, cache)
    states = decoder.embed_tokens(packed.ids.to(device))
    states = forward(decoder, states, (length + offsets).to(device), seen[:, None].to(device), cache)
    is_last = (numbers != PADDING) & (numbers != torch.nn.functional.pad(numbers, (0, 1), value=PADDING)[:, 1:])
    return states[is_last.to(device)]


def yes_and_no(logits: torch.Tensor, yes: Sequence[int], no: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The probability of yes and of no among all words, each the best of its spellings: (B, V) to (B,) twice."""
    probabilities = logits.float().softmax(-1)
    return probabilities[:, list(yes)].amax(1), probabilities[:, list(no)].amax(1)
