"""DPG-Bench (ELLA, https://arxiv.org/abs/2403.05135): long prompts, and yes/no questions that depend on one another.

Read this to see which of the published scorer's mistakes are kept, and how.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from PIL import Image
from pydantic import Field

from selfportrait import images as pictures
from selfportrait.benchmarks import _files, _layouts, _parts, _questions
from selfportrait.benchmarks.base import OVERALL, Row
from selfportrait.measures import Entry, Metric, no_extras
from selfportrait.types import Prompt

__all__ = ["DpgBench"]

SOURCE = "https://github.com/TencentQQGYLab/ELLA (dpg_bench/dpg_bench.csv, Apache-2.0)"
FILES = ("dpg_bench.csv", "dpg_bench/dpg_bench.csv")


class DpgBench:
    """1,065 prompts of 67 words, four pictures each; a picture's score is the share of its questions answered yes.

    `path` is the published dpg_bench.csv or its folder; the texts are those of `prompts/<item_id>.txt` beside it, where
    they are there. `vqa` answers. A yes counts as no where a question that it depends on counts as no, in the file's
    order. The overall number is the mean over prompts, published times 100; the categories are over questions, without
    the dependencies.

    `official_quirks` keeps two mistakes of the published scorer: it loses the first question of the file and so fails
    on that prompt, which it skips, and its categories see the fourth picture of each prompt alone. Pictures are seeded
    42 to 45: none are published.
    Source: dpg_bench/compute_dpg_bench.py of https://github.com/TencentQQGYLab/ELLA. Differs from the source: the
    published answers are mPLUG's.
    """

    metric: ClassVar[Metric] = Metric("share of questions answered yes", "mean over prompts", 100)

    def __init__(
        self,
        *,
        path: str | None = None,
        vqa: str | dict[str, Any] = "blip_vqa",
        official_quirks: bool = True,
        images_per_prompt: Annotated[int, Field(ge=1, le=4)] = 4,
    ) -> None:
        file = _files.locate(path, FILES, SOURCE)
        found = _questions.items(file)
        if official_quirks:
            found[0] = found[0]._replace(questions=found[0].questions[1:])
        texts = {item.id: text for item in found if (text := _text(file.parent / "prompts" / f"{item.id}.txt"))}
        own = list(_questions.prompts_of("dpg_bench", found, texts, {}))
        own = [replace(one, spec={**one.spec, "quirks": official_quirks}) for one in own]
        self._set = _parts.PromptSet(own, images_per_prompt)
        self._vqa = _parts.ByName("judges", vqa, ask="questions")

    def prompts(self) -> list[Prompt]:
        """The prompts, in the order of the CSV; `spec` holds their questions."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the judge."""
        _parts.build([self._vqa])

    def protocol(self, category: str) -> str:
        """The official answers are mPLUG's, which nothing current runs."""
        return f"approx:{self._vqa.name}"

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        rows = _questions.measure(self._vqa.built, prompts, images, _questions.in_place)
        last = self._set.images_per_prompt - 1
        by_id = {prompt.id: prompt.spec["quirks"] for prompt in prompts}
        for row in rows:
            in_categories = not by_id[row["prompt_id"]] or row["index"] == last
            row["details"] = {**row["details"], "in_categories": in_categories}
        return rows

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """Each picture counts in the overall number; each answer, as it was given, in its category's two levels."""
        for row in rows:
            yield Entry(OVERALL, row["prompt_id"], row["score"])
            found = _parts.details_of(row)
            for one in found.get("questions", []) if found.get("in_categories", True) else []:
                level = _questions.kind(one["category"])
                yield Entry(level, row["prompt_id"], one["yes"])
                if one["category"] != level:
                    yield Entry(one["category"], row["prompt_id"], one["yes"])

    extras = staticmethod(no_extras)

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<item_id>.png: the prompt's pictures as a grid of two by two, for which the scorer is told their side."""
        return {self.named(prompt)[0]: pictures.to_png(_layouts.tiled(images))}

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def named(self, prompt: Prompt) -> list[str]:
        """One file for all pictures."""
        return [_layouts.file_name(prompt.spec["item"], ".png")] * self._set.images_per_prompt


def _text(path: Path) -> str | None:
    return _files.text(path).strip() if path.is_file() else None
