"""What a plan is made of: counts stage by stage, and the largest batches, which decide the memory.

Read this before writing a plan for a recipe: `plan(built, settings)` in a file of the recipe's name takes the built
sections by name and the recipe's own settings, refuses what the recipe would refuse before it loads the model, and
loads nothing.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from selfportrait import stages
from selfportrait.benchmarks.base import Benchmark

__all__ = ["Batch", "Count", "Plan", "find", "if_here", "is_written", "measuring", "plan", "watching"]


Qualifier = Literal["", "about", "at most"]


class Count(NamedTuple):
    """How many of something a stage handles, and how sure that is before the run; None where nobody can say yet."""

    stage: str
    what: str
    number: int | None
    note: str = ""
    qualifier: Qualifier = ""


class Batch(NamedTuple):
    """Rows that go through the model at once, and the tokens of each."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """The counts of one round, of which there are `num_rounds`, and what is in memory at once.

    `generating` are the batches that go on token by token, with their keys and values. `num_copies` counts whole copies
    of the weights that learn which are held besides them, such as a reference or an average; adapters that are switched
    off are none. `is_without_encoders` says whether text encoders and autoencoder are put away while the rest learns.
    """

    num_rounds: int
    counts: Sequence[Count]
    generating: Sequence[Batch]
    training: Batch
    num_copies: int = 0
    is_without_encoders: bool = False


def plan(recipe: str, built: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """The plan of a recipe; raises ValueError for what the recipe refuses before it loads anything."""
    return find(recipe)(built, settings)


def find(recipe: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Plan]:
    """The plan function of a recipe: the file of its name in this folder."""
    made: Callable[[Mapping[str, Any], Mapping[str, Any]], Plan]
    made = importlib.import_module(f"selfportrait.planning.{recipe}").plan
    return made


def is_written(component: Any) -> bool:
    """Whether a component waits for the model to write or answer: what comes of it, only the run will show."""
    return isinstance(component, partial) and "policy" in inspect.signature(component.func).parameters


def if_here(count: Callable[[], int]) -> tuple[int | None, str]:
    """A number that takes data to be counted, and a note; None where that data set is not on this machine."""
    try:
        return count(), ""
    except FileNotFoundError as error:
        return None, str(error)


def measuring(stage: str, benchmark: Benchmark, when: str = "") -> Count:
    """The pictures of a benchmark."""
    try:
        prompts = benchmark.prompts()
    except FileNotFoundError as error:
        return Count(stage, "pictures", None, str(error))
    pictures = sum(len(benchmark.seeds(prompt)) for prompt in prompts)
    return Count(stage, "pictures", pictures, f"{len(prompts):,} held-out prompts{when and ', ' + when}")


def watching(stage: str, built: Mapping[str, Any], benchmark: Benchmark) -> list[Count]:
    """The judgements of those that watch, none where nobody does; refuses whom the run refuses."""
    try:
        found = stages.watchers(built.get("watch"), built.get("judge"), benchmark)
        pictures = sum(len(benchmark.seeds(prompt)) for prompt in benchmark.prompts()) if found else 0
    except FileNotFoundError as error:
        return [Count(stage, "judgements", None, str(error))]
    said = ["the run's own judge" if name == stages.OWN else name for name in found]
    return [Count(stage, "judgements", pictures * len(found), f"watching: {', '.join(said)}")] if found else []
