"""Every random choice of a run is keyed by what it is for, never by process, batch or order.

Read this before drawing a random number anywhere: two runs with the same keys draw the same pictures.
"""

import hashlib
import random

import torch

__all__ = ["derive", "generator", "noise", "passes"]


def derive(*key: str | int) -> int:
    """Return a 63-bit seed for a key such as (run seed, round, prompt id, candidate index, purpose)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: str | int) -> torch.Generator:
    """Return a CPU generator seeded by a key; noise drawn on the CPU is the same on every device."""
    return torch.Generator("cpu").manual_seed(derive(*key))


def passes(size: int, count: int, seed: int) -> list[int]:
    """Go through `size` items in a new random order each time they are through: the numbers of `count` of them."""
    assert size > 0, "there is nothing to go through"
    order: list[int] = []
    while len(order) < count:
        again = list(range(size))
        random.Random(derive(seed, "order", len(order) // size)).shuffle(again)
        order += again
    return order[:count]


def noise(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Stack one standard normal draw a seed, as diffusers does with a list of CPU generators: (B, *shape)."""
    return torch.stack([torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds])
