"""From a model to verdicts: a benchmark's prompts at its seeds, before and after training.

Read this to see what is measured.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfportrait import store
from selfportrait.benchmarks.base import Benchmark, Summary, aggregate
from selfportrait.models.base import Draws
from selfportrait.stages.parts import shared_out
from selfportrait.types import Prompt

__all__ = ["evaluate", "verdicts"]

PROMPTS_PER_PART = 25


def evaluate(model: Draws, benchmark: Benchmark, folder: Path, *, label: str = "evaluating") -> dict[str, Summary]:
    """Measure a model: draw the benchmark's prompts at its seeds, judge, write evaluation parts, aggregate.

    Makes the parts that are missing. The benchmark owns the pictures' seeds.
    """
    prompts = benchmark.prompts()
    chunks = [prompts[start : start + PROMPTS_PER_PART] for start in range(0, len(prompts), PROMPTS_PER_PART)]
    with shared_out(label, folder, [len(chunk) for chunk in chunks]) as missing:
        for index in missing:
            store.write_table(folder, index, _measure(model, benchmark, chunks[index]), store.EVALUATION)
    return aggregate(verdicts(folder))


def _measure(model: Draws, benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    seeds = [benchmark.seeds(prompt) for prompt in prompts]
    count = len(seeds[0])
    conditioning = model.encode([prompt.text for prompt in prompts]).repeat(count)
    flat = [seed for several in seeds for seed in several]
    images = model.sample(conditioning, flat).images
    groups = [images[start : start + count] for start in range(0, len(images), count)]
    texts = {prompt.id: prompt.text for prompt in prompts}
    rows = benchmark.measure(prompts, groups)
    return [
        {
            **row,
            "prompt": texts[row["prompt_id"]],
            "seed": seed,
            "image": image,
            "details": json.dumps(dict(row["details"]), sort_keys=True),
        }
        for row, seed, image in zip(rows, flat, images, strict=True)
    ]


def verdicts(folder: Path) -> list[Mapping[str, Any]]:
    """The verdicts of an evaluation's pictures, without the pictures."""
    columns = ["prompt_id", "category", "index", "exact", "score"]
    rows: list[Mapping[str, Any]] = store.read_table(folder, columns).to_pylist()
    return rows
