"""DSG-1k (https://arxiv.org/abs/2310.18235): prompts of ten sources with yes/no questions that depend on one another.

Read this beside `dpg_bench.py`, which took the questions' form from here and their rule otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _layouts, _parts, _questions
from selfportrait.benchmarks.base import OVERALL, Row
from selfportrait.measures import Entry, Metric, no_extras
from selfportrait.types import Prompt

__all__ = ["Dsg1k"]

SOURCE = "https://github.com/j-min/DSG (dsg-1k-anns.csv)"
FILES = ("dsg-1k-anns.csv", "dsg/data/dsg-1k-anns.csv")
SOURCES = {
    "tifa": "tifa",
    "stanford": "paragraph",
    "localized": "paragraph",
    "countbench": "count",
    "vrd": "relation",
    "diffusion": "real_user",
    "midjourney": "real_user",
    "posescript": "pose",
    "whoops": "defying",
    "drawtext": "text",
}
"""The published categories, by what an item's id holds."""


class Dsg1k:
    """1,060 prompts, one picture each; its score is the share of its questions answered yes.

    `path` is the published dsg-1k-anns.csv or its folder. `vqa` answers. A yes counts as no where a question that it
    depends on was answered no; those below it keep their own answers (in DPG-Bench they do not). The file has
    dependencies that are no numbers or name no question: they are left out. Overall and the sources are means over
    prompts. Pictures are seeded 42.
    Source: t2i_eval_dsg1k.py of https://github.com/j-min/DSG.
    """

    metric: ClassVar[Metric] = Metric("share of questions answered yes", "mean over prompts", 100)

    def __init__(
        self,
        *,
        path: str | None = None,
        vqa: str | dict[str, Any] = "blip_vqa",
        images_per_prompt: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        found = _questions.items(_files.locate(path, FILES, SOURCE))
        sources = {item.id: _source(item.id) for item in found}
        own = list(_questions.prompts_of("dsg_1k", found, {}, sources))
        self._set = _parts.PromptSet(own, images_per_prompt)
        self._vqa = _parts.ByName("judges", vqa, ask="questions")

    def prompts(self) -> list[Prompt]:
        """The prompts, in the order of the CSV; `spec` holds their questions, the category is their source's."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the judge."""
        _parts.build([self._vqa])

    def protocol(self, category: str) -> str:
        """The published answers are those of mPLUG, InstructBLIP and PaLI."""
        return f"approx:{self._vqa.name}"

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        return _questions.measure(self._vqa.built, prompts, images, _questions.dependent)

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """A picture counts in the overall number and in its prompt's source."""
        for row in rows:
            yield Entry(OVERALL, row["prompt_id"], row["score"])
            yield Entry(row["category"], row["prompt_id"], row["score"])

    extras = staticmethod(no_extras)

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<item_id>_<picture>.png."""
        return _layouts.pictures(self.named(prompt)[: len(images)], images)

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture."""
        item = prompt.spec["item"]
        return [_layouts.file_name(item, f"_{index}.png") for index in range(self._set.images_per_prompt)]


def _source(item: str) -> str:
    return next((category for part, category in SOURCES.items() if part in item), "other")
