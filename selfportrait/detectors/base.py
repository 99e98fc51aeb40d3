"""What a detector is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from selfportrait.types import Detection

__all__ = ["Detector"]


class Detector(Protocol):
    """Finds named things in pictures.

    One with a closed vocabulary refuses a name outside it by a ValueError; its method `label(name)` says before which
    of its classes a name stands for, and None for no class. Names of one class find the same things.
    """

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Look for the names of each picture in it: one list a picture, all that was found, in the order of the names.

        The detections of a name stand together, the most confident first. Each has the name that was looked for, not
        the network's label, and a box that fits the picture; a detector that segments gives a mask as well.
        """
        ...
