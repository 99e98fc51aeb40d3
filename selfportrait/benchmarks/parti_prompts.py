"""PartiPrompts (https://arxiv.org/abs/2206.10789): 1,632 prompts in twelve categories and eleven challenges.

Read this to see how the file is read: a quote in it is a quote.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _layouts, _parts, _preference
from selfportrait.benchmarks.base import Row, plain
from selfportrait.measures import Metric
from selfportrait.types import Prompt, Score

__all__ = ["PartiPrompts"]

SOURCE = "https://github.com/google-research/parti (PartiPrompts.tsv, Apache-2.0)"
COLUMNS = ["Prompt", "Category", "Challenge", "Note"]


class PartiPrompts:
    """1,632 prompts, one picture each, which preference scorers judge; there is no metric of its own.

    `path` is the published PartiPrompts.tsv or its folder. Each of `judges` gives a mean and a median over all prompts
    and means by category and challenge; the row's own score is the first judge's. Pictures are seeded 42.
    """

    metric: ClassVar[Metric] = Metric("mean score of each judge", None)

    def __init__(
        self,
        *,
        path: str | None = None,
        judges: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1)] = ("pick_score",),
        images_per_prompt: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        own = list(_prompts(_files.locate(path, ["PartiPrompts.tsv"], SOURCE)))
        self._set, self._judges = _parts.PromptSet(own, images_per_prompt), _preference.judges(judges)

    def prompts(self) -> list[Prompt]:
        """The prompts, in the file's order; the category is the published one, the challenge is in `spec`."""
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
    lines = _files.text(file).replace("\r\n", "\n").split("\n")
    table = csv.reader((line for line in lines if line.strip()), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(table, [])
    if header != COLUMNS:
        raise ValueError(f"{file} has the columns {', '.join(header)}, expected {', '.join(COLUMNS)}")
    for number, cells in enumerate(table):
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{file}, line {number + 2} has {len(cells)} columns, expected {len(COLUMNS)}")
        text, category, challenge, note = (cell.strip() for cell in cells)
        spec = {"row": number, "challenge": challenge, "note": note, "groups": [category, challenge]}
        yield Prompt(f"parti_prompts-{number:04d}", text, category, spec=spec)
