"""Boxes in pictures: whether one fits, and where it ends up when its picture is resized, cropped and mirrored.

Read this before computing with a box. A box is (x0, y0, x1, y1) in whole pixels, half-open; a size is (width, height),
as PIL has it. A pixel that a box touches belongs to it.
"""

from typing import NamedTuple

from selfportrait.types import Box

__all__ = [
    "Box",
    "Geometry",
    "Size",
    "area",
    "containment",
    "iou",
    "overlap",
    "place",
    "problem",
    "square_around",
    "touched",
]

Size = tuple[int, int]


class Geometry(NamedTuple):
    """How a picture became what a model sees: resized, then cropped to a box, then mirrored or not."""

    size: Size
    resized: Size
    crop: Box
    is_flipped: bool = False

    @property
    def cropped(self) -> Size:
        """The size of what the model sees."""
        return self.crop[2] - self.crop[0], self.crop[3] - self.crop[1]

    @classmethod
    def resizing(cls, size: Size, resized: Size) -> "Geometry":
        """Resized and left whole."""
        return cls(size, resized, (0, 0, *resized))


def problem(box: Box, size: Size) -> str | None:
    """Say what is wrong with a box in a picture of a size; None where it fits."""
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        return f"the box {box} is empty or inverted"
    if x0 < 0 or y0 < 0 or x1 > size[0] or y1 > size[1]:
        return f"the box {box} leaves its picture of {size[0]}x{size[1]} pixels"
    return None


def area(box: Box) -> int:
    """How many pixels a box has; none where it is empty."""
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def overlap(first: Box, second: Box) -> Box:
    """What two boxes share; empty or inverted where they do not meet."""
    return max(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), min(first[3], second[3])


def iou(first: Box, second: Box) -> float:
    """Intersection over union: 1 for equal boxes, 0 for those that do not meet."""
    shared = area(overlap(first, second))
    return shared / (area(first) + area(second) - shared) if shared else 0.0


def containment(first: Box, second: Box) -> float:
    """How much of the smaller box lies in the other: 1 where it is inside."""
    shared = area(overlap(first, second))
    return shared / min(area(first), area(second)) if shared else 0.0


def place(box: Box, geometry: Geometry) -> Box | None:
    """Follow a box through its picture's geometry; None where the crop leaves nothing of it."""
    (width, height), (new_width, new_height) = geometry.size, geometry.resized
    x0, x1 = box[0] * new_width // width, -(-box[2] * new_width // width)  # outwards, in integers: exact
    y0, y1 = box[1] * new_height // height, -(-box[3] * new_height // height)
    left, top, *_ = geometry.crop
    x0, y0, x1, y1 = overlap((x0, y0, x1, y1), geometry.crop)
    if x1 <= x0 or y1 <= y0:
        return None
    x0, y0, x1, y1 = x0 - left, y0 - top, x1 - left, y1 - top
    if geometry.is_flipped:
        x0, x1 = geometry.cropped[0] - x1, geometry.cropped[0] - x0
    return x0, y0, x1, y1


def touched(box: Box, factor: int) -> Box:
    """The cells of a grid `factor` times coarser that a box touches; at least one."""
    return box[0] // factor, box[1] // factor, -(-box[2] // factor), -(-box[3] // factor)


def square_around(box: Box, size: Size, context: float) -> Box:
    """A square patch centred on a box, `context` times its longer side, moved into the picture where it reaches out.

    No side is longer than the picture's, so that of a picture too small for it the patch is no square.
    """
    x0, y0, x1, y1 = box
    side = max(1, round(context * max(x1 - x0, y1 - y0)))
    (left, right), (top, bottom) = (
        _centred(*ends, side, n) for ends, n in zip(((x0, x1), (y0, y1)), size, strict=True)
    )
    return left, top, right, bottom


def _centred(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    length = min(length, limit)
    start = min(max((low + high - length) // 2, 0), limit - length)
    return start, start + length
