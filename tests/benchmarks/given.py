"""Hand-made verdicts for the published benchmarks: detectors, judges and pictures without any network."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from selfportrait import components
from selfportrait.types import Detection, Prompt, Score

DATA = Path(os.environ.get("SELFPORTRAIT_DATA") or Path(__file__).parents[3] / "shared" / "data")
"""Published prompt files, if they are there: a folder of them beside the repository, or wherever one says."""


def picture(width: int = 100, height: int = 100, color: str = "white") -> Image.Image:
    return Image.new("RGB", (width, height), color)


def found(name: str, box: tuple[int, int, int, int], score: float = 0.95, mask: Any = None) -> Detection:
    return Detection(name, score, box, mask)


def use(monkeypatch: Any, parts: Mapping[str, Any]) -> None:
    """Have `components.find` give these objects for these names, whatever the slot, and what there is for others."""
    real = components.find

    def find(slot: str, name: str) -> Callable[..., Any]:
        return (lambda: parts[name]) if name in parts else real(slot, name)

    monkeypatch.setattr(components, "find", find)


class Detects:
    """Finds the same detections in every picture, of the names that are asked for; remembers what was asked."""

    def __init__(self, *detections: Detection) -> None:
        self.detections, self.asked = detections, []

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        self.asked += [list(several) for several in names]
        return [[one for one in self.detections if one.name in several] for several in names]


class Says:
    """Answers each question by a table, and each picture and prompt with a score by a function."""

    def __init__(
        self, table: Mapping[str, float | None] | None = None, score: Callable[..., Any] | None = None
    ) -> None:
        self.table, self.score, self.asked = table or {}, score, []

    def answer(self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[list[float | None]]:
        assert len(images) == len(questions)
        self.asked += [list(several) for several in questions]
        return [[self.table[question] for question in several] for several in questions]

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        assert self.score is not None
        return [self.score(prompt, image) for prompt, image in zip(prompts, images, strict=True)]


def lines(path: Path, *records: Any) -> Path:
    """A JSONL file as it is published: without a last newline."""
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    inside = np.zeros((size[1], size[0]), dtype=bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    return inside
