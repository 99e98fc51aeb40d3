"""The text-rendering prompts of Flow-GRPO (https://arxiv.org/abs/2505.05470), read by OCR.

Read this to see what is compared with what.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _parts
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks.base import OVERALL, Row
from selfportrait.measures import Entry, Metric
from selfportrait.types import Prompt

__all__ = ["OcrPrompts"]

SOURCE = "https://github.com/yifan123/flow_grpo (dataset/ocr/test.txt, MIT)"
FILES = ["test.txt", "ocr/test.txt", "dataset/ocr/test.txt"]
TARGET = re.compile(r'"([^"]+)"')
JUDGE = {"name": "ocr", "score": "edit", "penalise_extra": False, "enlarge": 1}


class OcrPrompts:
    """1,018 prompts with one text in double quotes each; a picture's score is 1 - (edit distance) / (length).

    `path` is the published test.txt or its folder. The score ignores case and spaces and is 1 where the text stands
    anywhere in what was read, as Flow-GRPO has it; train on another OCR than you measure with. Pictures are seeded 42.
    Differs from the source: there the text is read by PaddleOCR.
    """

    metric: ClassVar[Metric] = Metric("mean share of the text that is right", "mean over prompts")

    def __init__(
        self,
        *,
        path: str | None = None,
        judge: str | dict[str, Any] = JUDGE,
        images_per_prompt: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        own = list(_prompts(_files.locate(path, FILES, SOURCE)))
        self._set = _parts.PromptSet(own, images_per_prompt)
        self._judges = {"ocr": _parts.ByName("judges", judge)}

    def prompts(self) -> list[Prompt]:
        """The prompts, in the file's order; `spec` holds the text that is asked for."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the judges."""
        _parts.build(self._judges.values())

    def protocol(self, category: str) -> str:
        """The scorer whose numbers these are."""
        return f"approx:{self._judges['ocr'].name}"

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Read each picture; one row a picture, in order."""
        flat = one_by_one(prompts, images)
        scores = self._judges["ocr"].built([p for p, _, _ in flat], [image for _, _, image in flat])
        return [_parts.row(prompt, index, score) for (prompt, index, _), score in zip(flat, scores, strict=True)]

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """A picture counts in the overall number."""
        for row in rows:
            yield Entry(OVERALL, row["prompt_id"], row["score"])

    @staticmethod
    def extras(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """The share of pictures in which the text stands alone and without a mistake."""
        exact = [_parts.details_of(row).get("exact", False) for row in rows if row["score"] is not None]
        return {"exact": sum(exact) / len(exact)} if exact else {}

    files, index, named = _parts.files, _parts.index, _parts.named


def _prompts(file: Path) -> Iterator[Prompt]:
    for number, text in enumerate(_files.lines(file)):
        targets = TARGET.findall(text)
        if len(targets) != 1:
            raise ValueError(
                f"{file}, line {number + 1} has {len(targets)} texts in double quotes, expected one: {text}"
            )
        yield Prompt(f"ocr_prompts-{number:04d}", text, "ocr_prompts", spec={"row": number, "target": targets[0]})
