"""What a detector is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from selfportrait.types import Detection

__all__ = ["Detector"]


class Detector(Protocol):
    """Finds named things in pictures."""

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Look for the names of each picture in it: one list a picture, of each name the most confident box or none.

        A detection has the name that was looked for, and a box that fits the picture.
        """
        ...
