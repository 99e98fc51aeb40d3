"""What the published benchmarks share: their prompts at fixed seeds, rows, and judges and detectors by name.

Read this to see which protocols a judge or detector has to keep to.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from selfportrait import binding, components
from selfportrait.benchmarks import _layouts
from selfportrait.benchmarks.base import Benchmark, Row, plain
from selfportrait.types import Detection, Prompt, Question, Score

__all__ = [
    "Answers",
    "ByName",
    "Detector",
    "Judge",
    "Named",
    "PromptSet",
    "answers",
    "build",
    "check",
    "details_of",
    "files",
    "index",
    "is_held_out",
    "named",
    "require_names",
    "row",
    "seeds",
]

Named = str | dict[str, Any]
"""A component by its name, or {name: ..., path: ...} with settings of it."""

FIRST_SEED = 42


class Detector(Protocol):
    """Finds every thing of the asked names in each picture, the most confident first."""

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]: ...


class Judge(Protocol):
    """Scores one picture a prompt."""

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]: ...


@runtime_checkable
class Answers(Protocol):
    """Answers questions about each picture with P(yes) / (P(yes) + P(no)); None or NaN where it could not."""

    def answer(self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> Sequence[Sequence[Any]]: ...


class ByName:
    """A judge or detector by name, built when it is first asked; `preset` are settings that hold where it has them."""

    def __init__(self, slot: str, named: Named, **preset: Any) -> None:
        self.slot, self.preset = slot, preset
        self.settings = {"name": named} if isinstance(named, str) else dict(named)
        self.name = str(self.settings.pop("name", ""))

    @cached_property
    def built(self) -> Any:
        """The component; raises ValueError for an unknown name or setting, and for one that needs a policy."""
        key, component = f"{self.slot}.{self.name}", components.find(self.slot, self.name)
        binding.require_no_policy(key, self.name, component)
        known = binding.settings_of(component)
        preset = {setting: value for setting, value in self.preset.items() if setting in known and value is not None}
        values, _ = binding.bind(key, self.name, component, preset | self.settings)
        return component(**values)


def build(parts: Iterable[ByName]) -> None:
    """Build judges and detectors now, so that what is wrong with their settings is said before anything is drawn."""
    for part in parts:
        _ = part.built


def require_names(detector: ByName, names: Iterable[str]) -> None:
    """Build a detector and refuse names for which it has no label; raises ValueError with the first of them.

    One with a closed vocabulary says by `label(name)` which of its classes a name stands for; others have no such.
    """
    label = getattr(detector.built, "label", None)
    unknown = [name for name in dict.fromkeys(names) if label is not None and label(name) is None]
    if unknown:
        raise ValueError(
            f"{detector.name} cannot look for {unknown[0]!r} and {len(unknown) - 1} other names of this benchmark: "
            "take a detector with an open vocabulary, such as owlv2"
        )


@dataclass(frozen=True)
class PromptSet:
    """Prompts, and the seeds of each one's pictures: 42, 43, ... again for every prompt."""

    prompts: list[Prompt]
    images_per_prompt: int

    @cached_property
    def by_text(self) -> dict[str, Prompt]:
        """The prompts by what they are compared by."""
        return {plain(prompt.text): prompt for prompt in self.prompts}

    def seeds(self) -> list[int]:
        """The same for every prompt."""
        return [FIRST_SEED + index for index in range(self.images_per_prompt)]


def row(prompt: Prompt, index: int, score: Score, exact: bool | None = None) -> Row:
    """The verdict on picture `index` of a prompt."""
    return {
        "prompt_id": prompt.id,
        "category": prompt.category,
        "index": index,
        "exact": None if score.value is None else exact,
        "score": None if score.value is None else float(score.value),
        "reason": score.reason,
        "details": score.details,
    }


def details_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The details of a row as it was judged, or of one that was read back from its table."""
    found = row["details"]
    return dict(json.loads(found) if isinstance(found, str) else found)


def answers(
    judge: Answers | Judge, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]
) -> list[list[Any]]:
    """P(yes) of each question about each picture, None where the judge could not answer.

    A judge without `answer` judges a prompt with these questions, and its details say what it answered.
    """
    asked = [(image, several) for image, several in zip(images, questions, strict=True) if several]
    if not asked:
        return [[] for _ in questions]
    shown, texts = [image for image, _ in asked], [several for _, several in asked]
    found = iter(judge.answer(shown, texts) if isinstance(judge, Answers) else _by_prompts(judge, shown, texts))
    return [[_finite(value) for value in next(found)] if several else [] for several in questions]


def _by_prompts(judge: Judge, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[list[Any]]:
    prompts = [Prompt("questions", " ".join(several), questions=tuple(map(Question, several))) for several in questions]
    scores = judge(prompts, images)
    return [
        [_ratio(one) for one in score.details.get("questions", [{}] * len(several))]
        for score, several in zip(scores, questions, strict=True)
    ]


def _ratio(said: Mapping[str, Any]) -> float | None:
    p_yes, p_no = said.get("p_yes"), said.get("p_no")
    if p_yes is None or p_no is None:
        return p_yes
    return p_yes / (p_yes + p_no) if p_yes + p_no > 0 else None


def _finite(value: Any) -> float | None:
    probability = None if value is None else float(value)
    return probability if probability is not None and probability == probability else None


class Own(Benchmark, Protocol):
    """A benchmark that holds its prompts, and takes the three functions below for methods."""

    _set: PromptSet


def seeds(self: Own, prompt: Prompt) -> list[int]:
    """42, 43, ... again for every prompt."""
    return self._set.seeds()


def is_held_out(self: Own, text: str) -> bool:
    """Whether a prompt is one of the file's."""
    return plain(text) in self._set.by_text


def check(self: Own, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
    """Judge one picture a prompt by its text; missing where the prompt is not the benchmark's."""
    return [_check_one(self, self._set.by_text.get(plain(p.text)), one) for p, one in zip(prompts, images, strict=True)]


def _check_one(benchmark: Benchmark, prompt: Prompt | None, image: Image.Image) -> Score:
    if prompt is None:
        return Score(None, "the benchmark does not know this prompt")
    (found,) = benchmark.measure([prompt], [[image]])
    value = found["score"] if found["exact"] is None else float(found["exact"])
    return Score(value, found["reason"], found["details"])


# The layout of a prompt set that publishes none: pictures by number, and a metadata.jsonl


def files(self: Own, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
    """<%05d>_<picture>.png: no layout is published."""
    return _layouts.pictures(named(self, prompt)[: len(images)], images)


def index(self: Own, prompts: list[Prompt]) -> dict[str, bytes]:
    """metadata.jsonl, by which `datasets` and `selfportrait judge` know each picture's prompt."""
    return _layouts.metadata({name: prompt.text for prompt in prompts for name in named(self, prompt)})


def named(self: Own, prompt: Prompt) -> list[str]:
    """The path of each picture."""
    return _layouts.numbered(prompt.spec["row"], self._set.images_per_prompt)
