"""Pictures on their way into a judge: RGB or missing, told apart by their pixels, and in the frame of the network.

Read this for what becomes of a picture that is not square, and of one that is no picture.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from selfportrait import images
from selfportrait.types import Prompt, Score

__all__ = ["cropped", "judge_readable", "padded", "pixel_hash", "readable", "squared"]

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures; BLIP uses the same
STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST = 8  # times the short side: what is further out is cut off a picture before it is enlarged

Judge = Callable[[list[str], list[Image.Image]], list[Score]]


def judge_readable(prompts: Sequence[Prompt], pictures: Sequence[Image.Image], judge: Judge) -> list[Score]:
    """Judge the pictures that can be read, all at once; each of the others is missing, with the reason."""
    found = readable(pictures)
    kept = [
        (prompt.text, picture)
        for prompt, picture in zip(prompts, found, strict=True)
        if isinstance(picture, Image.Image)
    ]
    scores = iter(judge([text for text, _ in kept], [picture for _, picture in kept]) if kept else [])
    return [Score(None, one) if isinstance(one, str) else next(scores) for one in found]


def readable(pictures: Sequence[Image.Image]) -> list[Image.Image | str]:
    """Each picture as RGB, or the reason why it has no pixels."""
    return [_rgb(picture) for picture in pictures]


def _rgb(picture: Image.Image) -> Image.Image | str:
    try:
        return images.to_rgb(picture)
    except ValueError as error:
        return str(error)


def pixel_hash(picture: Image.Image) -> str:
    """The same for two RGB pictures of the same size and pixels, and for no others."""
    digest = hashlib.blake2b(f"{picture.width}x{picture.height}:".encode(), digest_size=16)
    digest.update(picture.tobytes())
    return digest.hexdigest()


def cropped(picture: Image.Image, size: int) -> torch.Tensor:
    """The middle of a picture whose short side is `size`, (3, size, size), as CLIP's processor makes it.

    Of a picture more than 8 times as long as wide only the middle is enlarged: it is all that the network sees.
    """
    picture = _middle(picture)
    width, height = picture.size
    short = min(width, height)
    resized = picture.resize((size * width // short, size * height // short), Image.Resampling.BICUBIC)
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    return _normalized(_unit(resized.crop((left, top, left + size, top + size))))


def squared(picture: Image.Image, size: int) -> torch.Tensor:
    """A whole picture squeezed into a square, (3, size, size), as BLIP's processor makes it."""
    return _normalized(_unit(picture.resize((size, size), Image.Resampling.BICUBIC)))


def padded(picture: Image.Image, size: int) -> torch.Tensor:
    """A whole picture with its long side `size` in the middle of black, (3, size, size), as HPS v2 makes it.

    HPS v2 scales the tensor and not the picture: values outside [0, 1] stay, and the black is normalized too.
    """
    unit = _unit(picture)  # (3, H, W)
    scale = size / max(unit.shape[1:])
    if scale == 1 and unit.shape[1] == unit.shape[2]:
        return _normalized(unit)
    height, width = (max(1, round(side * scale)) for side in unit.shape[1:])
    resized = F.interpolate(unit[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0]
    left, top = (size - width) // 2, (size - height) // 2
    return _normalized(F.pad(resized, (left, size - width - left, top, size - height - top)))


def _middle(picture: Image.Image) -> Image.Image:
    limit = LONGEST * min(picture.size)
    if max(picture.size) <= limit:
        return picture
    width, height = min(picture.width, limit), min(picture.height, limit)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _unit(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255  # (3, H, W)


def _normalized(unit: torch.Tensor) -> torch.Tensor:
    return (unit - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
