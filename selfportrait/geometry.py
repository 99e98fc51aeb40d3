"""How a picture of any size is made square: resize, crop, flip. Where the boxes in it come to lie is in boxes.py.

Read this before training on pictures. What is random is keyed by the pair, its side and the epoch, so that
the chosen and the rejected picture are cut independently, as in the trainers of the papers, and a resumed run cuts the
same.
"""

from typing import Literal

from PIL import Image

from selfportrait.boxes import Geometry
from selfportrait.seeds import derive

__all__ = ["Side", "show", "view"]

Side = Literal["chosen", "rejected"]


def view(
    size: tuple[int, int],
    side: int,
    *,
    crop: Literal["center", "random"] = "center",
    flip: bool = False,
    key: tuple[str | int, ...] = (),
) -> Geometry:
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
    crop_box = (left, top, left + side, top + side)
    return Geometry(size, resized, crop_box, flip and derive(*key, "flip") % 2 == 1)


def show(image: Image.Image, view: Geometry) -> Image.Image:
    """The picture as the view sees it, (side, side); resizing is bilinear with antialiasing."""
    assert image.size == view.size, f"a view of {view.size} does not fit a picture of {image.size}"
    resized = image if view.resized == image.size else image.resize(view.resized, Image.Resampling.BILINEAR)
    cut = resized.crop(view.crop)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.is_flipped else cut
