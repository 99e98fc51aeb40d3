"""`selfportrait sample`: draw pictures for prompts into a folder that `datasets` reads as it is.

Read this to learn what decides a picture: the seed, the prompt's text and its number, nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from selfportrait import components, images, progress, store
from selfportrait.commands import imagefolder
from selfportrait.seeds import derive

__all__ = ["draw", "read_prompts"]

PICTURES_AT_ONCE = 64
MAX_GRID = 400  # pictures; a larger sheet says nothing


def read_prompts(texts: Sequence[str], file: Path | None) -> list[str]:
    """Prompts of the command line, then those of a file, each once. Raises ValueError where there is none."""
    from_file = [] if file is None else components.find("prompts", "file")(path=str(file))()
    wanted = list(dict.fromkeys([*(text.strip() for text in texts), *(prompt.text for prompt in from_file)]))
    if not wanted:
        raise ValueError('There is nothing to draw: give prompts, such as "three red circles", or --prompts FILE')
    if "" in wanted:
        raise ValueError("A prompt is empty: give it a text, or leave it out")
    return wanted


def draw(model: Any, prompts: Sequence[str], folder: Path, *, count: int, seed: int) -> None:
    """Write `count` PNG files a prompt, grid.png with a prompt a row, and metadata.jsonl last."""
    rows: list[dict[str, Any]] = []
    sheet: list[Image.Image] = []
    at_once = max(1, PICTURES_AT_ONCE // count)
    with progress.bar("drawing", total=len(prompts) * count) as advance:
        for start in range(0, len(prompts), at_once):
            texts = prompts[start : start + at_once]
            seeds = [derive(seed, text, index, "sample") for text in texts for index in range(count)]
            drawn = model.sample(model.encode(texts).repeat(count), seeds).images
            for offset, (image, own_seed) in enumerate(zip(drawn, seeds, strict=True)):
                name = f"{start + offset // count:05d}-{offset % count}.png"
                store.write_bytes(folder / name, images.to_png(image))
                rows.append({"file_name": name, "text": texts[offset // count], "seed": own_seed})
            sheet += drawn[: max(0, MAX_GRID - len(sheet))]
            advance(len(drawn))
    store.write_bytes(folder / "grid.png", images.to_png(images.grid(sheet, count)))
    imagefolder.write_metadata(folder, rows)
