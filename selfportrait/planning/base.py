"""What a plan is made of: counts stage by stage, and the largest batches, which decide the memory.

Read this before writing a plan for a recipe: `plan(built, settings)` in a file of the recipe's name takes the built
sections by name and the recipe's own settings, refuses what the recipe would refuse before it loads the model, and
loads nothing.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from selfportrait import stages
from selfportrait.benchmarks.base import Benchmark

__all__ = ["Batch", "Count", "Plan", "count_prompts", "find", "measuring", "plan"]


class Count(NamedTuple):
    """How many of something a stage handles; `is_expected` where only the run itself will show the number."""

    stage: str
    what: str
    number: int
    note: str = ""
    is_expected: bool = False


class Batch(NamedTuple):
    """Rows that go through the model at once, and the tokens of each."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """The counts of one round, of which there are `num_rounds`, and what is in memory at once.

    `num_copies` counts whole copies of the weights that learn which are held besides them, such as a reference or an
    average; adapters that are switched off are none.
    """

    num_rounds: int
    counts: Sequence[Count]
    drawing: Batch
    training: Batch
    num_copies: int = 0


def plan(recipe: str, built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """The plan of a recipe; raises ValueError for what the recipe refuses before it loads anything."""
    return find(recipe)(built, settings)


def find(recipe: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Plan]:
    """The plan function of a recipe: the file of its name in this folder."""
    made: Callable[[Mapping[str, Any], Mapping[str, Any]], Plan]
    made = importlib.import_module(f"selfportrait.planning.{recipe}").plan
    return made


def count_prompts(prompts: Any, model: Any, seed: int) -> tuple[int, bool]:
    """How many prompts a source gives, and whether that is only what it asks the model for."""
    source = stages.hand_over(prompts, policy=model, seed=seed)
    if hasattr(source, "num_prompts") and hasattr(source, "part"):
        return int(source.num_prompts), True
    return len(source()), False


def measuring(stage: str, benchmark: Benchmark) -> Count:
    """The pictures of a benchmark."""
    prompts = benchmark.prompts()
    pictures = sum(len(benchmark.seeds(prompt)) for prompt in prompts)
    return Count(stage, "pictures", pictures, f"{len(prompts):,} held-out prompts")
