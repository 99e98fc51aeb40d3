"""Pairs as every format can hold them; each format's test module has a `make` that writes them and returns a source."""

import io
from typing import NamedTuple

from PIL import Image

from selfportrait import images


class Given(NamedTuple):
    """A row whose chosen picture is the better one."""

    prompt: str
    chosen: bytes
    rejected: bytes


def png(color: str, size: tuple[int, int] = (6, 4)) -> bytes:
    return images.to_png(Image.new("RGB", size, color))


def encoded(mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (6, 4)).save(buffer, kind)
    return buffer.getvalue()


def bad(data: bytes) -> bytes:
    """The same picture with pixels that cannot be decoded."""
    at = data.index(b"IDAT") + 8
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


GIVEN = [
    Given("a red circle", png("red"), png("blue")),
    Given("  a circle, grün \n", png("green"), png("blue", (5, 9))),
    Given(" ", png("red"), png("blue")),
    Given("the same twice", png("red"), png("red")),
    Given("a broken one", bad(png("black")), png("white")),
    Given("odd modes", encoded("P", "PNG"), encoded("CMYK", "JPEG")),
    Given("a red circle", png("pink"), png("blue")),
]
KEPT = [0, 1, 4, 5, 6]  # of these, without decoding
DROPPED = {"empty prompt": 1, "identical pictures": 1}
BROKEN = 4
