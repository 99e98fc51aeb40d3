"""From a model to verdicts: a benchmark's prompts at its seeds, before and after training.

Read this to see what is measured.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from selfportrait import store
from selfportrait.benchmarks.base import Benchmark, Row, Summary, aggregate
from selfportrait.models.base import Draws
from selfportrait.stages.parts import shared_out
from selfportrait.types import Prompt

__all__ = ["Shown", "drawn_by", "evaluate", "judge_pictures", "judged", "verdicts"]

PROMPTS_PER_PART = 25
PICTURES_PER_PART = 100  # of a published benchmark, where a part of 25 prompts may be 250 large pictures
PAYLOAD = "image"


class Shown(NamedTuple):
    """One picture of a prompt with its seed, None where that is not known; or why there is no picture."""

    image: Image.Image | None
    seed: int | None
    reason: str | None = None


Pictures = Callable[[Sequence[Prompt]], list[list[Shown]]]
"""The pictures of some prompts, from wherever they come."""


def evaluate(model: Draws, benchmark: Benchmark, folder: Path, *, label: str = "evaluating") -> dict[str, Summary]:
    """Measure a model: draw the benchmark's prompts at its seeds, judge, write evaluation parts, aggregate.

    Makes the parts that are missing. The benchmark owns the pictures' seeds.
    """
    judge_pictures(drawn_by(model, benchmark), benchmark, folder, PROMPTS_PER_PART, label=label)
    return aggregate(verdicts(folder))


def judge_pictures(
    pictures: Pictures, benchmark: Benchmark, folder: Path, prompts_per_part: int, *, label: str = "evaluating"
) -> None:
    """Have a benchmark judge pictures; makes the parts that are missing. A picture that is not there is missing."""
    prompts = benchmark.prompts()
    chunks = [prompts[start : start + prompts_per_part] for start in range(0, len(prompts), prompts_per_part)]
    with shared_out(label, folder, [len(chunk) for chunk in chunks]) as missing:
        for index in missing:
            rows = _measure(pictures(chunks[index]), benchmark, chunks[index])
            store.write_table(folder, index, rows, store.EVALUATION)


def drawn_by(model: Draws, benchmark: Benchmark) -> Pictures:
    """Pictures that a model draws at the benchmark's seeds."""

    def draw(prompts: Sequence[Prompt]) -> list[list[Shown]]:
        seeds = [benchmark.seeds(prompt) for prompt in prompts]
        count = len(seeds[0])
        conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
        flat = [seed for several in seeds for seed in several]
        shown = [Shown(*one) for one in zip(model.sample(conditioning, flat).images, flat, strict=True)]
        return [shown[start : start + count] for start in range(0, len(shown), count)]

    return draw


def _measure(shown: Sequence[Sequence[Shown]], benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    there = [[index for index, one in enumerate(several) if one.image is not None] for several in shown]
    images = [[one.image for one in several if one.image is not None] for several in shown]
    found = iter(benchmark.measure(prompts, images))
    rows = []
    for prompt, several, indices in zip(prompts, shown, there, strict=True):
        by_index = {index: next(found) for index in indices}
        for index, one in enumerate(several):
            rows.append(_stored(prompt, index, one, by_index.get(index) or _no_picture(prompt, one)))
    return rows


def _no_picture(prompt: Prompt, one: Shown) -> Row:
    return {
        "prompt_id": prompt.id,
        "category": prompt.category,
        "index": 0,
        "exact": None,
        "score": None,
        "reason": one.reason or "there is no picture",
        "details": {},
    }


def _stored(prompt: Prompt, index: int, one: Shown, verdict: Row) -> dict[str, Any]:
    return {
        **verdict,
        "index": index,
        "prompt": prompt.text,
        "seed": one.seed,
        "image": one.image,
        "details": json.dumps(dict(verdict["details"]), sort_keys=True),
    }


def verdicts(folder: Path) -> list[Mapping[str, Any]]:
    """The verdicts of an evaluation's pictures, without the pictures."""
    columns = ["prompt_id", "category", "index", "exact", "score"]
    rows: list[Mapping[str, Any]] = store.read_table(folder, columns).to_pylist()
    return rows


def judged(folder: Path) -> list[Mapping[str, Any]]:
    """The same with reasons and details, from which a published benchmark sums up."""
    columns = [name for name in store.EVALUATION.names if name != PAYLOAD]
    rows: list[Mapping[str, Any]] = store.read_table(folder, columns).to_pylist()
    return rows
