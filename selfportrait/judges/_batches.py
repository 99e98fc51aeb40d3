"""Nothing goes through a network twice: distinct items, batches of them, and pairs of a picture and a text.

Read this to see what a judge holds in memory: the states of a few batches of pictures, never of all.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from PIL import Image

from selfportrait.types import Score

__all__ = ["Pair", "batches", "distinct", "number", "pair_values"]

Item = TypeVar("Item")
HELD = 4  # batches of pictures whose states are held at once, so that questions of one length fill a batch

Pair = tuple[int, str]  # the number of a picture, and a text


def distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Where each distinct key stands first, and for every key the number of its distinct one."""
    numbers: dict[Hashable, int] = {}
    first: list[int] = []
    for position, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(first)
            first.append(position)
    return first, [numbers[key] for key in keys]


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items in order, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def number(value: float, details: dict[str, Any] | None = None) -> Score:
    """A score, or a missing one where the network returned no number."""
    if not math.isfinite(value):
        return Score(None, f"the network returned {value}", details or {})
    return Score(value, None, details or {})


def pair_values(
    pictures: Sequence[Image.Image],
    pairs: Sequence[Pair],
    *,
    encode: Callable[[Sequence[Image.Image]], torch.Tensor],
    value: Callable[[torch.Tensor, Sequence[str]], torch.Tensor],
    bucket: Callable[[str], int],
    batch_size: int,
) -> dict[Pair, float]:
    """The value of each distinct pair, where a text reads the states of its picture.

    `encode` turns pictures into states (P, T, D), `value` states (B, T, D) with their texts into (B,). A picture is
    encoded once, and texts of one batch are of one bucket.
    """
    wanted: dict[int, list[str]] = {}
    for picture, text in dict.fromkeys(pairs):
        wanted.setdefault(picture, []).append(text)
    found: dict[Pair, float] = {}
    for held in batches(list(wanted), HELD * batch_size):
        encoded = [encode([pictures[index] for index in some]) for some in batches(held, batch_size)]
        states = torch.cat(encoded)  # (P, T, D)
        asked = sorted(((bucket(text), row, text) for row, one in enumerate(held) for text in wanted[one]))
        for same in _runs(asked):
            for batch in batches(same, batch_size):
                values = (
                    value(states[[row for _, row, _ in batch]], [text for _, _, text in batch]).cpu().double().tolist()
                )
                found |= {(held[row], text): one for (_, row, text), one in zip(batch, values, strict=True)}
    return found


def _runs(asked: Sequence[tuple[int, int, str]]) -> list[list[tuple[int, int, str]]]:
    runs: dict[int, list[tuple[int, int, str]]] = {}
    for one in asked:
        runs.setdefault(one[0], []).append(one)
    return list(runs.values())
