"""What a plan needs in memory, item by item with its formula, and what the machine has.

Read this to see what is exact (weights, adapters, optimizer, the cache of keys and values) and what is an estimate.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

from selfportrait.models.base import Sizes
from selfportrait.planning.base import Batch, Plan

__all__ = ["Need", "available", "needs", "peak"]

MOMENTS, MASTERS = 8, 8  # bytes a weight that learns: AdamW's two in float32; a float32 copy and its gradient
FACTORS = 4  # bytes a row or column: what Adafactor has in place of moments


class Need(NamedTuple):
    """Bytes, what they are for, how they are counted, and when they are needed: always, or in one of two phases."""

    what: str
    bytes: int
    formula: str
    phase: str = ""


def needs(sizes: Sizes, plan: Plan, optimizer: str) -> list[Need]:
    """The items: weights and the optimizer's state all the time, then what drawing and what training take on top."""
    learns, count = sizes.trained_bytes, sizes.num_trained
    away = sizes.encoder_bytes if plan.is_without_encoders else 0
    is_low = learns < 4 * count
    is_factored = optimizer == "adafactor"
    kept = sizes.num_factors * FACTORS if is_factored else count * MOMENTS
    what = "a number a row and column" if is_factored else "two moments in float32"
    training = plan.training
    longest = max(plan.generating, key=lambda batch: batch.rows * batch.tokens, default=Batch(0, 0))
    places = training.rows * training.tokens
    found = [
        Need("weights that stay", sizes.weight_bytes - learns - away, "parameters x bytes of a number"),
        Need("encoders", away, "weights of text encoders and autoencoder, put away while training", "drawing"),
        Need("weights that learn", learns, f"{count:,} x {learns // count} bytes"),
        Need("copies of them", plan.num_copies * learns, f"{plan.num_copies}: reference or average"),
        Need("gradients", learns, "as the weights that learn"),
        Need(
            "optimizer",
            kept + count * MASTERS * is_low,
            f"{what}{', a float32 copy and its gradient' if is_low else ''}",
        ),
        Need(
            "keys and values",
            longest.rows * longest.tokens * sizes.cache_bytes,
            f"{longest.rows:,} rows x {longest.tokens:,} tokens x {sizes.cache_bytes:,} bytes",
            "drawing",
        ),
        Need("decoding pictures", sizes.decoding_bytes, "4 feature maps at full resolution, an estimate", "drawing"),
        Need(
            "activations",
            places * sizes.kept_bytes + training.tokens * sizes.once_bytes,
            f"{training.rows:,} rows x {training.tokens:,} tokens x {sizes.kept_bytes:,} bytes, an estimate",
            "training",
        ),
    ]
    return [need for need in found if need.bytes]


def peak(found: Sequence[Need]) -> int:
    """The most that is needed at once: what is there always, and the larger of drawing and training."""
    by_phase = {
        phase: sum(need.bytes for need in found if need.phase == phase) for phase in ("", "drawing", "training")
    }
    return by_phase[""] + max(by_phase["drawing"], by_phase["training"])


def available(device: torch.device) -> tuple[int, str]:
    """The memory of the device, in bytes, and its name: a GPU's own, or that of the machine."""
    if device.type == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(device)
        return properties.total_memory, properties.name
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine's main memory"
