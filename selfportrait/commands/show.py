"""`selfportrait micro show`: scenes of the micro world with their prompts and questions.

Read this to see how a prompt becomes a picture that fulfils it.
"""

import random
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from selfportrait import components, images, store
from selfportrait.micro.language import parse
from selfportrait.micro.scenes import CATEGORIES, lay_out, prompts
from selfportrait.micro.world import render
from selfportrait.types import Prompt

__all__ = ["draw_prompts", "write_sheet"]

ENLARGE, COLUMNS, GAP = 3, 4, 6


def draw_prompts(category: str | None, count: int, seed: int) -> list[Prompt]:
    """Prompts of one category, or of each in turn; raises ValueError for an unknown one."""
    if category is not None and category not in CATEGORIES:
        raise ValueError(f"Unknown category {category!r}: {components.nearest(category, CATEGORIES)}")
    sources = [prompts(name, held_out=False, seed=seed) for name in ([category] if category else CATEGORIES)]
    return list(islice(_in_turn(sources), count))


def _in_turn(sources: list[Iterator[Prompt]]) -> Iterator[Prompt]:
    """One from each source until one has no more."""
    for source in cycle(sources):
        prompt = next(source, None)
        if prompt is None:
            return
        yield prompt


def write_sheet(shown: list[Prompt], path: Path, seed: int) -> None:
    """Write one picture with a scene for each prompt, row by row, enlarged."""
    scenes = [lay_out(parse(prompt.text), random.Random(f"show-{seed}-{prompt.id}")) for prompt in shown]
    pictures = [images.enlarge(render(scene), ENLARGE) for scene in scenes]
    store.write_bytes(path, images.to_png(images.grid(pictures, COLUMNS, gap=GAP)))
