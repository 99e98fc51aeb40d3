"""Where a picture's pixels, and the boxes in it, come to lie when it is made square: resize, crop, flip.

Read this before training on pictures of any size. What is random is keyed by the pair, its side and the epoch, so that
the chosen and the rejected picture are cut independently, as in the trainers of the papers, and a resumed run cuts the
same.
"""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from selfportrait.seeds import derive
from selfportrait.types import Box, PreferencePair

__all__ = ["Side", "View", "place", "placed", "show", "view"]

Side = Literal["chosen", "rejected"]


@dataclass(frozen=True)
class View:
    """How a picture of `size` is seen: shrunk or enlarged to `resized`, cut at (left, top) to a square, then mirrored.

    Sizes are (width, height).
    """

    size: tuple[int, int]
    resized: tuple[int, int]
    left: int
    top: int
    side: int
    is_flipped: bool = False


def view(
    size: tuple[int, int],
    side: int,
    *,
    crop: Literal["center", "random"] = "center",
    flip: bool = False,
    key: tuple[str | int, ...] = (),
) -> View:
    """Bring the shorter side of a picture to `side` and cut the longer one; `flip` mirrors every other one.

    `key` decides where a random crop lies and who is mirrored: (seed, pair id, "chosen" or "rejected", epoch). Sizes
    and centers are rounded as torchvision's Resize and CenterCrop round them.
    """
    if (crop == "random" or flip) and not key:
        raise ValueError("A random crop or flip needs a key: give (seed, pair id, side, epoch)")
    width, height = size
    shorter = min(size)
    resized = (side * width // shorter, side * height // shorter)
    excess = (resized[0] - side, resized[1] - side)
    if crop == "center":
        left, top = (round(pixels / 2) for pixels in excess)
    else:
        left, top = (derive(*key, axis, "crop") % (excess[axis] + 1) for axis in (0, 1))
    return View(size, resized, left, top, side, flip and derive(*key, "flip") % 2 == 1)


def show(image: Image.Image, view: View) -> Image.Image:
    """The picture as the view sees it, (side, side); resizing is bilinear with antialiasing."""
    assert image.size == view.size, f"a view of {view.size} does not fit a picture of {image.size}"
    resized = image if view.resized == image.size else image.resize(view.resized, Image.Resampling.BILINEAR)
    cut = resized.crop((view.left, view.top, view.left + view.side, view.top + view.side))
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.is_flipped else cut


def place(box: Box, view: View, where: str) -> Box | None:
    """The pixels of the view that a box covers, wholly or in part; None where it left the crop.

    Raises ValueError, beginning with `where`, for a box that is empty, inverted or outside the picture.
    """
    x0, y0, x1, y1 = box
    width, height = view.size
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"{where} is {list(box)}: expected x0 < x1 and y0 < y1")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise ValueError(f"{where} is {list(box)}: expected it inside the picture of {width}x{height} pixels")
    left, right = _span(x0, x1, view.resized[0], width, view.left, view.side)
    top, bottom = _span(y0, y1, view.resized[1], height, view.top, view.side)
    if left >= right or top >= bottom:
        return None
    if view.is_flipped:
        left, right = view.side - right, view.side - left
    return left, top, right, bottom


def placed(pair: PreferencePair, side: Side, view: View) -> list[Box | None]:
    """The boxes of a pair's instances on one side, in their order, as `place` does; an error names the pair."""
    boxes = [instance.chosen_box if side == "chosen" else instance.rejected_box for instance in pair.instances]
    names = [f"pair {pair.id}: the {side} box of {instance.name!r}" for instance in pair.instances]
    return [place(box, view, name) for box, name in zip(boxes, names, strict=True)]


def _span(start: int, stop: int, resized: int, original: int, offset: int, side: int) -> tuple[int, int]:
    """From pixels of the original to pixels of the crop along one axis, outwards; in whole numbers, so it is exact."""
    first = start * resized // original - offset
    last = -(-stop * resized // original) - offset
    return max(first, 0), min(last, side)
