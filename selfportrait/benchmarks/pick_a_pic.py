"""Pick-a-Pic (https://arxiv.org/abs/2305.01569): prompts that people typed, which preference scorers judge.

Read this to see which files are read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from PIL import Image
from pydantic import Field

from selfportrait import rows as tables
from selfportrait.benchmarks import _files, _layouts, _parts, _preference
from selfportrait.benchmarks.base import Row, plain
from selfportrait.measures import Metric
from selfportrait.types import Prompt, Score

__all__ = ["PickAPic"]

SOURCE = "https://huggingface.co/datasets/yuvalkirstain/pickapic_v2 (splits validation_unique, test_unique)"
FILES = [f"{name}.{kind}" for name in ("validation_unique", "test_unique") for kind in ("parquet", "jsonl", "txt")]
TEXTS = ("caption", "prompt", "text")


class PickAPic:
    """The unique prompts of a split, 500 as published, one picture each; there is no metric of its own.

    `path` is a file of one of them: the published Parquet, of which only the column caption is read, or JSON lines, CSV
    or text. A prompt that comes again is left out. Each of `judges` gives a mean and a median; who wins against a base
    model is what `selfportrait compare` says. Pictures are seeded 42.
    """

    metric: ClassVar[Metric] = Metric("mean score of each judge", None)

    def __init__(
        self,
        *,
        path: str | None = None,
        judges: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1)] = ("pick_score",),
        images_per_prompt: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        own = list(_prompts(_files.locate(path, FILES, SOURCE)))
        self._set, self._judges = _parts.PromptSet(own, images_per_prompt), _preference.judges(judges)

    def prompts(self) -> list[Prompt]:
        """The prompts, in the file's order."""
        return self._set.prompts

    def seeds(self, prompt: Prompt) -> list[int]:
        """42, and on from there where more pictures are asked for."""
        return self._set.seeds()

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt is one of the file's."""
        return plain(text) in self._set.by_text

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Judge one picture a prompt, of the benchmark's own prompts."""
        return _parts.check_own(self, self._set, prompts, images)

    def ready(self) -> None:
        """Build the judges."""
        _parts.build(self._judges.values())

    protocol = staticmethod(_preference.protocol)

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture by every judge; one row a picture, in order."""
        return _preference.measure(self._judges, prompts, images)

    entries = staticmethod(_preference.entries)
    extras = staticmethod(_preference.medians)

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<%05d>_<picture>.png: no layout is published."""
        return _layouts.pictures(self.named(prompt)[: len(images)], images)

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """metadata.jsonl, by which `datasets` and `selfportrait judge` know each picture's prompt."""
        return _layouts.metadata({name: prompt.text for prompt in prompts for name in self.named(prompt)})

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture."""
        return _layouts.numbered(prompt.spec["row"], self._set.images_per_prompt)


def _prompts(file: Path) -> Iterator[Prompt]:
    if file.suffix not in tables.KINDS:
        raise ValueError(f"benchmark.path = {file}: expected a file of {', '.join(tables.KINDS)}")
    seen: set[str] = set()
    for line, row in tables.read(file, TEXTS):
        column = next((name for name in TEXTS if name in row), None)
        if column is None or not isinstance(row[column], str):
            raise ValueError(
                f"{file}, line {line} has no text in caption, prompt or text: found {', '.join(map(str, row))}"
            )
        text = row[column].strip()
        if text and text not in seen:
            yield Prompt(f"pick_a_pic-{len(seen):04d}", text, "pick_a_pic", spec={"row": len(seen), "groups": []})
            seen.add(text)
    if not seen:
        raise ValueError(f"{file} holds no prompt: take the file as it was published")
