"""IAPO's weights: latents inside instances that contradict the pair's preference count less.

Read this to see how boxes become a weight map for each picture of a pair; following a box through resizing, cropping
and mirroring is in `selfportrait/boxes.py`.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from selfportrait.boxes import Box, Geometry, Size, place, problem, touched
from selfportrait.types import Instance

__all__ = ["instance_mask"]


def instance_mask(
    instances: Sequence[Instance],
    chosen: Geometry,
    rejected: Geometry,
    grid: Size,
    *,
    w_neg: Annotated[float, Field(ge=0, le=1)] = 0.0,
    overlap: Literal["mean_all", "mean_covering"] = "mean_all",
    boxes: Literal["pixels", "latents"] = "pixels",
) -> torch.Tensor:
    """Weigh latents of a pair by the instances that agree with its preference; unit mean in each picture.

    An instance's own map is `w_neg` in its box where it is a conflict, and 1 elsewhere; a box that agrees changes
    nothing. A picture's map is their mean: over all N instances, so that one conflict among three leaves (2 + w_neg)/3
    in its box, or in "mean_covering" over those whose boxes cover the pixel, if any does. With `boxes` "pixels" it is
    made of pixels and averaged over each latent's, with "latents" of the latents that a box touches. Divided by its
    mean it is the weight. A map of one value, also of zeros, becomes ones, exactly: without instances or without a
    conflict in the crop the loss is that of plain pairs, bit for bit.

    Shapes: grid is (width, height) of the latents, which divides the cropped sizes; returns (2, 1, h, w) in float32,
        the chosen first.
    Source: IAPO, whose mask is written out in `docs/methods/iapo.md`.
    Raises ValueError for a box that does not fit its picture, and a grid that does not fit the crop.
    """
    maps = []
    for geometry, side in ((chosen, "chosen_box"), (rejected, "rejected_box")):
        placed = [(_placed(instance, side, geometry), instance.is_conflict) for instance in instances]
        maps.append(_map(placed, geometry.cropped, grid, w_neg, overlap, boxes))
    return torch.stack(maps).unsqueeze(1)  # (2, 1, h, w)


def _placed(instance: Instance, side: str, geometry: Geometry) -> Box | None:
    box: Box = getattr(instance, side)
    if wrong := problem(box, geometry.size):
        raise ValueError(f"the instance {instance.name!r} cannot be masked, {side}: {wrong}; leave it out")
    return place(box, geometry)


def _map(
    placed: Sequence[tuple[Box | None, bool]], size: Size, grid: Size, w_neg: float, overlap: str, boxes: str
) -> torch.Tensor:
    """The weights (h, w) of one picture."""
    factor = _factor(size, grid)
    if boxes == "latents":
        raw = _painted([(box and touched(box, factor), conflict) for box, conflict in placed], grid, w_neg, overlap)
    else:
        pixels = _painted(placed, size, w_neg, overlap)  # (H, W)
        raw = pixels.unflatten(1, (-1, factor)).unflatten(0, (-1, factor)).mean((1, 3))  # (h, w)
    if bool((raw == raw[0, 0]).all()):
        return torch.ones(raw.shape)
    return (raw / raw.mean()).float()


def _factor(size: Size, grid: Size) -> int:
    """How many pixels a latent's side has."""
    factor = size[0] // grid[0]
    if factor < 1 or (grid[0] * factor, grid[1] * factor) != size:
        raise ValueError(
            f"a picture of {size[0]}x{size[1]} pixels has no grid of {grid[0]}x{grid[1]} latents: expected the same "
            "whole factor both ways"
        )
    return factor


def _painted(placed: Sequence[tuple[Box | None, bool]], size: Size, w_neg: float, overlap: str) -> torch.Tensor:
    """The mean over instances of their maps, (height, width) in float64; a box of None covers nothing."""
    conflicts = torch.zeros(size[::-1], dtype=torch.float64)  # how many of their boxes hold each pixel
    covers = torch.zeros_like(conflicts)  # and how many of all
    for box, is_conflict in placed:
        if box is not None:
            x0, y0, x1, y1 = box
            covers[y0:y1, x0:x1] += 1
            conflicts[y0:y1, x0:x1] += is_conflict
    among = covers.clamp(min=1) if overlap == "mean_covering" else max(len(placed), 1)
    return 1 - (1 - w_neg) * conflicts / among
