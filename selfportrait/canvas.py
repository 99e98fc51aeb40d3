"""Any picture as one that a network takes: RGB, not huge, not a line, and boxes on it back in the picture's own pixels.

Read this before handing pictures of unknown origin to a network that resizes or pads them: a picture of 20,000 by 10
pixels would be padded to a square of 20,000, and one of 1 by 1 leaves nothing after a convolution.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from selfportrait import images
from selfportrait.boxes import Box, Size, overlap

__all__ = ["LONGEST", "Canvas", "fit"]

LONGEST = 2048  # px; the networks see 384 to 1333 of them
SHORTEST = 32  # px
RATIO = 4  # of the longer to the shorter side, at most
_ROUNDING = 1e-2  # px: a box that reaches no further into a pixel does not touch it


class Canvas(NamedTuple):
    """A picture, smaller if need be, at the upper left of an RGB canvas that is larger only where it is too thin."""

    picture: Image.Image
    size: Size
    shown: Size

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """The canvas's (height, width), as post-processing wants it."""
        return self.picture.height, self.picture.width

    def back(self, box: Sequence[float]) -> Box | None:
        """The pixels of the picture that a box on the canvas touches; None where there are none, or the box is none."""
        if not all(map(math.isfinite, box)):
            return None
        across, down = self.size[0] / self.shown[0], self.size[1] / self.shown[1]
        x0, y0, x1, y1 = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        low, high = (math.floor(x0 + _ROUNDING), math.floor(y0 + _ROUNDING)), (x1 - _ROUNDING, y1 - _ROUNDING)
        outwards = (*low, math.ceil(high[0]), math.ceil(high[1]))
        cut = overlap(outwards, (0, 0, *self.size))
        return cut if cut[0] < cut[2] and cut[1] < cut[3] else None

    def mask_back(self, mask: np.ndarray) -> np.ndarray:
        """A bool mask over the whole canvas, of any resolution, as one of the picture's pixels, (H, W)."""
        height, width = self.rows_and_columns
        rows = _nearest(self.size[1], mask.shape[0] * self.shown[1] / height)
        columns = _nearest(self.size[0], mask.shape[1] * self.shown[0] / width)
        return np.asarray(mask[rows][:, columns], dtype=bool)


def fit(picture: Image.Image, *, longest: int = LONGEST) -> Canvas:
    """Put a picture on a canvas of at most `longest` pixels a side; a usual picture is its own canvas."""
    factor = min(1.0, longest / max(picture.size))
    width, height = (max(1, round(side * factor)) for side in picture.size)
    shown = images.to_rgb(picture)
    shown = shown if factor == 1 else shown.resize((width, height), Image.Resampling.BICUBIC)
    least = max(SHORTEST, math.ceil(max(width, height) / RATIO))
    if min(width, height) >= least:
        return Canvas(shown, picture.size, (width, height))
    canvas = Image.new("RGB", (max(width, least), max(height, least)))
    canvas.paste(shown)
    return Canvas(canvas, picture.size, (width, height))


def _nearest(length: int, cells: float) -> np.ndarray:
    """Of `length` pixels the cells they lie in, the first `cells` of a row of them being spread over all pixels."""
    return np.minimum((np.arange(length) + 0.5) * cells / length, max(cells - 1e-6, 0)).astype(int)
