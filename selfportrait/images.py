"""Pictures in and out: PNG bytes, tensors, enlargement, grids and overlays; a picture is a PIL image in RGB everywhere.

Read this before encoding or decoding a picture: the same pixels always give the same bytes.
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "MAX_PIXELS",
    "enlarge",
    "from_bytes",
    "from_tensor",
    "grid",
    "overlay",
    "to_png",
    "to_rgb",
    "to_tensor",
]

MAX_PIXELS = 64 * 2**20
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)  # what PIL's decoders raise


def to_png(image: Image.Image) -> bytes:
    """Encode a picture as PNG: its RGB pixels alone, so that equal pixels give equal bytes."""
    bare = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # without profiles and other metadata
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Image.Image:
    """Decode a picture of any common format to RGB; raises ValueError for a corrupt or an enormous one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower than PIL's
        try:
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                _check_size(width, height)
                image.verify()
            with Image.open(io.BytesIO(data)) as image:
                return _rgb(image)
        except Image.DecompressionBombError as error:
            raise ValueError(f"The picture is larger than the {MAX_PIXELS} pixels that are read: {error}") from error
        except _TooLargeError:
            raise
        except _BROKEN as error:
            raise ValueError(f"The picture ({len(data)} bytes) cannot be decoded: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The RGB pixels of a PIL picture of any mode, decoded now; raises ValueError for a broken or an enormous one.

    Alpha is dropped, not laid on white: a transparent pixel counts with the colour stored below it.
    """
    _check_size(image.width, image.height)
    try:
        image.load()
        return image if image.mode == "RGB" else _rgb(image)
    except _BROKEN as error:
        raise ValueError(f"The picture cannot be decoded: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Of 16 bits a channel the high byte stays; PIL would cut everything at 255, and make white of most pictures.

    Numbers in 32 bits are told by their size: above 255 they are 16 bits, floats up to 1 are shares.
    """
    if not image.mode.startswith("I") and image.mode != "F":
        return image.convert("RGB")
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    most = values.max(initial=0)
    is_long = image.mode.startswith("I;16") or most > 255
    scale = 1 / 256 if is_long else 255 if image.mode == "F" and most <= 1 else 1
    return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8)).convert("RGB")


class _TooLargeError(ValueError):
    """A picture over the limit; a class of its own so that it is not taken for a broken one."""


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _TooLargeError(
            f"The picture has {width}x{height} pixels, more than the {MAX_PIXELS} that are read: shrink it"
        )


def enlarge(image: Image.Image, factor: int, *, method: Literal["nearest", "bicubic"] = "nearest") -> Image.Image:
    """Enlarge a picture by a whole factor."""
    resampling = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}[method]
    return image.resize((image.width * factor, image.height * factor), resampling)


def grid(images: Sequence[Image.Image], columns: int, *, gap: int = 2) -> Image.Image:
    """Lay pictures out in rows of `columns` on white, left to right, in cells of the largest picture's size."""
    if not images or columns < 1:
        raise ValueError(f"A grid of {len(images)} pictures in {columns} columns is empty: give at least one of each")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    width = max(image.width for image in images) + gap
    height = max(image.height for image in images) + gap
    canvas = Image.new("RGB", (columns * width - gap, rows * height - gap), "white")
    for index, image in enumerate(images):
        canvas.paste(image, (index % columns * width, index // columns * height))
    return canvas


def overlay(image: Image.Image, mask: NDArray[np.float64]) -> Image.Image:
    """Fade a picture to grey as its mask (h, w) in [0, 1] falls, with a line around where the mask is above one half.

    The mask's cells are shown as they are, without smoothing; grey and a line in black and white tell inside from
    outside on any background.
    """
    pixels = np.array(image.convert("RGB"), dtype=np.float64)  # (H, W, 3)
    rows = np.arange(image.height) * mask.shape[0] // image.height
    columns = np.arange(image.width) * mask.shape[1] // image.width
    weight = mask[rows][:, columns]  # (H, W)
    fog = 0.75 * 128 + 0.25 * pixels.mean(2, keepdims=True)
    shown = weight[..., None] * pixels + (1 - weight[..., None]) * fog
    inside = weight > 0.5
    near = np.pad(inside, 1, mode="edge")
    neighbours = np.stack([near[:-2, 1:-1], near[2:, 1:-1], near[1:-1, :-2], near[1:-1, 2:]])
    shown[inside & ~neighbours.all(0)] = 255
    shown[~inside & neighbours.any(0)] = 0
    return Image.fromarray(shown.round().astype(np.uint8))


def from_tensor(tensor: torch.Tensor, *, signed: bool = True) -> Image.Image:
    """Turn (C, H, W) with 1 or 3 channels in [-1, 1] (signed) or [0, 1] into a picture; values outside are clipped.

    Rounds as diffusers does, so that the picture equals the one its pipelines return.
    """
    assert tensor.shape[:-2] in ((1,), (3,)), f"expected (1 or 3, H, W), got {tuple(tensor.shape)}"
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("The picture holds values that are not finite: the model that drew it is broken")
    unit = (tensor * 0.5 + 0.5 if signed else tensor).clamp(0, 1)
    array = unit.detach().cpu().float().permute(1, 2, 0).numpy()  # (H, W, C)
    pixels = (array * 255).round().astype(np.uint8)
    return Image.fromarray(pixels.repeat(3 // pixels.shape[2], axis=2))


def to_tensor(image: Image.Image, *, signed: bool = True) -> torch.Tensor:
    """Turn a picture into (3, H, W) in [-1, 1] (signed) or [0, 1]."""
    array = np.array(image.convert("RGB"))  # (H, W, 3)
    unit = torch.from_numpy(array).permute(2, 0, 1).float() / 255  # (3, H, W)
    return unit * 2 - 1 if signed else unit
