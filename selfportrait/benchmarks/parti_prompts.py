"""PartiPrompts (https://arxiv.org/abs/2206.10789): 1,632 prompts in twelve categories and eleven challenges.

Read this to see how the file is read: a quote in it is a quote.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from selfportrait.benchmarks import _files, _parts, _preference
from selfportrait.measures import Metric
from selfportrait.types import Prompt

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

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    ready, measure = _preference.ready, _preference.measure
    protocol = staticmethod(_preference.protocol)
    entries = staticmethod(_preference.entries)
    extras = staticmethod(_preference.medians)

    files, index, named = _parts.files, _parts.index, _parts.named


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
