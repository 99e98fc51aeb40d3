"""Pictures in the folders of published benchmarks: what is written for the official scorers, and read back.

Read this to see which names are refused.
"""

import io
import json
from collections.abc import Mapping, Sequence

from PIL import Image

from selfportrait import images

__all__ = ["MAX_NAME", "file_name", "jpeg", "metadata", "numbered", "pictures", "tiled", "untiled"]

MAX_NAME = 255  # bytes of a file's name, on every common file system
REFUSED = "/\\\0\n\r\t"


def pictures(names: Sequence[str], several: Sequence[Image.Image]) -> dict[str, bytes]:
    """One PNG a picture."""
    return {name: images.to_png(image) for name, image in zip(names, several, strict=True)}


def numbered(row: int, count: int) -> list[str]:
    """<%05d>_<picture>.png, where no layout is published."""
    return [f"{row:05d}_{index}.png" for index in range(count)]


def jpeg(image: Image.Image) -> bytes:
    """A picture as JPEG of high quality: published layouts ask for the format, and say nothing of the quality."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def metadata(texts: Mapping[str, str]) -> dict[str, bytes]:
    """A metadata.jsonl with the text of each file, as `datasets` reads it."""
    lines = [json.dumps({"file_name": name, "text": text}, ensure_ascii=False) for name, text in texts.items()]
    return {"metadata.jsonl": "".join(f"{line}\n" for line in lines).encode()}


def file_name(text: str, ending: str, forbidden: str = "") -> str:
    """A prompt as the name of a file; raises ValueError where it cannot be one."""
    bad = sorted(set(text) & set(REFUSED + forbidden))
    name = f"{text}{ending}"
    if bad:
        raise ValueError(f"the prompt {text!r} cannot name a file: it holds {', '.join(map(repr, bad))}")
    if len(name.encode()) > MAX_NAME:
        raise ValueError(f"the prompt {text!r} cannot name a file: {len(name.encode())} bytes, at most {MAX_NAME}")
    return name


def tiled(several: Sequence[Image.Image]) -> Image.Image:
    """Four pictures of one size as a grid of two by two, row by row; one picture as it is; two or three leave black."""
    if len(several) == 1:
        return several[0]
    width, height = several[0].size
    if any(image.size != (width, height) for image in several) or len(several) > 4:
        raise ValueError(f"a grid takes up to 4 pictures of one size, got {[image.size for image in several]}")
    grid = Image.new("RGB", (2 * width, 2 * height))
    for index, image in enumerate(several):
        grid.paste(image, (index % 2 * width, index // 2 * height))
    return grid


def untiled(grid: Image.Image, count: int) -> list[Image.Image]:
    """The pictures of such a grid."""
    if count == 1:
        return [grid]
    width, height = grid.width // 2, grid.height // 2
    corners = [(index % 2 * width, index // 2 * height) for index in range(count)]
    return [grid.crop((x, y, x + width, y + height)) for x, y in corners]
