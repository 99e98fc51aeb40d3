"""The exact detector of the micro world, by name."""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from selfportrait.boxes import Geometry, place
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
        """Of each name the shape of the highest confidence, the first among equals."""
        return [_find(picture, several) for picture, several in zip(pictures, names, strict=True)]


def _find(picture: Image.Image, names: Sequence[str]) -> list[Detection]:
    geometry = Geometry.resizing((SIDE, SIDE), picture.size)
    detections, found = detect(picture), []
    for name in names:
        kind = kind_of(name)
        fitting = [] if kind is None else [detection for detection in detections if covers(kind, detection)]
        if fitting:
            best = max(fitting, key=lambda detection: detection.score)
            box = place(best.box, geometry)
            assert box is not None, "nothing was cropped away"
            found.append(replace(best, name=name, box=box, mask=None))
    return found
