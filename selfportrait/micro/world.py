"""The micro world: what a 64x64 picture can hold, and how it is drawn.

Read this to learn what the small models know. Shapes stand on a 4x4 grid of 16-pixel cells with a little jitter, at
least two pixels apart, in six colours, six kinds and three sizes, on one of four backgrounds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from selfportrait.micro.words import draw_word

__all__ = [
    "BACKGROUNDS",
    "CELL",
    "COLOURS",
    "GRID",
    "JITTER",
    "RADII",
    "SHAPES",
    "SIDE",
    "Item",
    "Scene",
    "Word",
    "render",
    "stencil",
]

SIDE, GRID, CELL = 64, 4, 16
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (226, 52, 52),
    "green": (52, 178, 92),
    "blue": (66, 104, 236),
    "yellow": (244, 214, 62),
    "purple": (168, 78, 206),
    "orange": (244, 138, 38),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "black": (22, 22, 28),
    "gray": (176, 180, 186),
    "white": (240, 240, 236),
    "brown": (92, 50, 28),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
RADII = {"small": 3.5, "medium": 5.5, "large": 7.0}
JITTER = {"small": 2, "medium": 1, "large": 0}
SUPERSAMPLING = 8


@dataclass(frozen=True)
class Item:
    """One shape: its centre (x, y) in pixels is the corner between four pixels, so a stencil is centred on it."""

    colour: str
    shape: str
    size: str
    x: int
    y: int


@dataclass(frozen=True)
class Word:
    """A word in capitals, shifted from the middle by (dx, dy) pixels; it is the only thing in its picture."""

    text: str
    colour: str = "yellow"
    dx: int = 0
    dy: int = 0


@dataclass(frozen=True)
class Scene:
    """Everything that a picture holds: the ground truth."""

    items: tuple[Item, ...] = ()
    background: str = "black"
    word: Word | None = None


def outline(shape: str, radius: float) -> list[tuple[float, float]]:
    """Corners of a shape around the origin; every shape fills about the same box of 2 x radius."""
    if shape == "square":
        side = 0.9 * radius
        return [(-side, -side), (side, -side), (side, side), (-side, side)]
    if shape == "triangle":
        return [(0, -radius), (radius, 0.8 * radius), (-radius, 0.8 * radius)]
    if shape == "cross":
        arm, tip = 0.36 * radius, radius
        return [
            (-arm, -tip), (arm, -tip), (arm, -arm), (tip, -arm), (tip, arm), (arm, arm),
            (arm, tip), (-arm, tip), (-arm, arm), (-tip, arm), (-tip, -arm), (-arm, -arm),
        ]  # fmt: skip
    if shape == "star":
        lengths = [1.1 * radius if corner % 2 == 0 else 0.45 * radius for corner in range(10)]
        angles = [math.pi * corner / 5 - math.pi / 2 for corner in range(10)]
        return [(length * math.cos(a), length * math.sin(a)) for length, a in zip(lengths, angles, strict=True)]
    raise ValueError(f"no outline for {shape!r}")


@lru_cache(maxsize=64)
def stencil(shape: str, radius: float) -> np.ndarray:
    """Coverage of a shape in [0, 1] on one 16x16 cell, anti-aliased."""
    scale, middle = SUPERSAMPLING, CELL * SUPERSAMPLING / 2
    canvas = Image.new("L", (CELL * scale, CELL * scale))
    draw = ImageDraw.Draw(canvas)
    box = [middle - radius * scale, middle - radius * scale, middle + radius * scale, middle + radius * scale]
    if shape == "circle":
        draw.ellipse(box, fill=255)
    elif shape == "ring":
        draw.ellipse(box, fill=255)
        hole = 0.55 * radius * scale
        draw.ellipse([middle - hole, middle - hole, middle + hole, middle + hole], fill=0)
    else:
        draw.polygon([(middle + x * scale, middle + y * scale) for x, y in outline(shape, radius)], fill=255)
    coverage: np.ndarray = np.asarray(canvas, dtype=np.float32).reshape(CELL, scale, CELL, scale).mean((1, 3)) / 255
    coverage.flags.writeable = False
    return coverage


def render(scene: Scene) -> Image.Image:
    """Draw a scene as a 64x64 RGB picture."""
    canvas = np.empty((SIDE, SIDE, 3), np.float32)
    canvas[:] = BACKGROUNDS[scene.background]
    half = CELL // 2
    for item in scene.items:
        top, left = item.y - half, item.x - half
        y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + CELL, SIDE), min(left + CELL, SIDE)
        alpha = stencil(item.shape, RADII[item.size])[y0 - top : y1 - top, x0 - left : x1 - left, None]
        canvas[y0:y1, x0:x1] += alpha * (np.array(COLOURS[item.colour], np.float32) - canvas[y0:y1, x0:x1])
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    if scene.word is not None:
        word = scene.word
        image = draw_word(image, word.text, colour=COLOURS[word.colour], dx=word.dx, dy=word.dy)
    return image
