"""The exact detector of the micro world, by name."""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from selfportrait.boxes import Box, Geometry, place
from selfportrait.micro.detect import detect
from selfportrait.micro.instances import covers, kind_of
from selfportrait.micro.world import SIDE
from selfportrait.types import Detection

__all__ = ["Micro"]


class Micro:
    """Find shapes by names such as "red circle", "circle" or "red shape", by segmentation and template matching.

    The confidence is the cosine to the nearest template; a name outside the micro world finds nothing.
    """

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All shapes of each name, the most confident first."""
        return [_find(picture, several) for picture, several in zip(pictures, names, strict=True)]

    def label(self, name: str) -> str | None:
        """The name itself, or None for one that is outside the micro world."""
        return None if kind_of(name) is None else name


def _find(picture: Image.Image, names: Sequence[str]) -> list[Detection]:
    geometry = Geometry.resizing((SIDE, SIDE), picture.size)
    detections = sorted(detect(picture), key=lambda detection: -detection.score)
    return [
        replace(one, name=name, box=_placed(one, geometry), mask=None)
        for name in dict.fromkeys(names)
        if (kind := kind_of(name)) is not None
        for one in detections
        if covers(kind, one)
    ]


def _placed(one: Detection, geometry: Geometry) -> Box:
    box = place(one.box, geometry)
    assert box is not None, "nothing was cropped away"
    return box
