"""Pick-a-Pic (https://arxiv.org/abs/2305.01569): prompts that people typed, which preference scorers judge.

Read this to see which files are read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from selfportrait import rows as tables
from selfportrait.benchmarks import _files, _parts, _preference
from selfportrait.measures import Metric
from selfportrait.types import Prompt

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

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    ready, measure = _preference.ready, _preference.measure
    protocol = staticmethod(_preference.protocol)
    entries = staticmethod(_preference.entries)
    extras = staticmethod(_preference.medians)

    files, index, named = _parts.files, _parts.index, _parts.named


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
