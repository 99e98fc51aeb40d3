"""GenEval (https://arxiv.org/abs/2310.11513): are things there, as often, in the colours and places that are asked for.

Read this to see which pictures are drawn and who looks at them; the rules are in `_geneval.py`.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _layouts, _parts, _results
from selfportrait.benchmarks._colors import ClipColors, crop
from selfportrait.benchmarks._geneval import dense_reward, keep, verdict
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks.base import Row
from selfportrait.measures import OFFICIAL, Entry, Metric, entries_of_pictures
from selfportrait.types import Detection, Prompt, Score

__all__ = ["Geneval"]

FILES = ("evaluation_metadata.jsonl", "prompts/evaluation_metadata.jsonl")
SOURCE = "https://github.com/djghosh13/geneval (prompts/evaluation_metadata.jsonl, MIT)"
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
NUM_PROMPTS = 553
KEYS = {"class", "count", "color", "position"}

_log = logging.getLogger(__name__)


class Geneval:
    """553 prompts in six tags, four pictures each; a picture is exact when every clause of its prompt holds.

    `path` is the published evaluation_metadata.jsonl or its folder. `detector` finds things, with masks if it can: what
    is above `threshold` counts, which is also its own threshold unless it is given one, and for the tag counting what
    is above `counting_threshold`. `colors` is the CLIP that names their colours. The published thresholds belong to the
    published detector, a Mask2Former of mmdetection: fit the counting one on pictures of known count for another. With
    `dense` a picture's score is Flow-GRPO's reward in parts; the share of exact pictures stays the benchmark's number.
    `results` is the results.jsonl that the official scorer wrote about these pictures, in their official layout.

    Seeds: the published script seeds one generator with 42 for each prompt and draws all four pictures from it. Here
    each picture has a generator of its own, 42 to 45: the first picture starts from the same noise, the others from
    other noise of the same distribution, and no number depends on the batch or the device.
    Source: evaluation/evaluate_images.py of https://github.com/djghosh13/geneval. Differs from the source: boxes are
    whole pixels.
    """

    metric: ClassVar[Metric] = Metric("share of exactly right pictures", "mean of categories")

    def __init__(
        self,
        *,
        path: str | None = None,
        detector: str | dict[str, Any] = "mask2former",
        colors: str = "openai/clip-vit-large-patch14",
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.3,
        counting_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        dense: bool = False,
        results: str | None = None,
        images_per_prompt: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        file = _files.locate(path, FILES, SOURCE)
        self._set = _parts.PromptSet([*_prompts(file)], images_per_prompt)
        lowest = min(threshold, counting_threshold)
        self._detector, self._colors = _parts.ByName("detectors", detector, threshold=lowest), ClipColors(colors)
        self.threshold, self.counting_threshold, self.dense = threshold, counting_threshold, dense
        self._official = None if results is None else _results.geneval(results)

    def prompts(self) -> list[Prompt]:
        """The prompts, in the file's order; `spec` is the line as it was published."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the detector; raises ValueError where it cannot look for a class."""
        if self._official is not None:
            return
        _parts.require_names(self._detector, [name for prompt in self._set.prompts for name in _classes(prompt.spec)])

    def protocol(self, category: str) -> str:
        """Official are only the results of the official scorer, whose detector nothing current runs."""
        if self._official is not None:
            return OFFICIAL
        clip = f"+{Path(self._colors.path).name}" if category not in TAGS[:3] else ""
        return f"approx:{self._detector.name}{clip}"

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        if self._official is not None:
            return _results.measure(self._official, prompts, images)
        flat = one_by_one(prompts, images)
        names = [_classes(prompt.spec) for prompt, _, _ in flat]
        found = self._detector.built([image for _, _, image in flat], names) if flat else []
        return [self._row(*one, several) for one, several in zip(flat, found, strict=True)]

    def _row(self, prompt: Prompt, index: int, image: Image.Image, detections: Sequence[Detection]) -> Row:
        is_counting = prompt.spec["tag"] == "counting"
        kept = keep(detections, self.counting_threshold if is_counting else self.threshold)
        objects = {name: kept.get(name, []) for name in _classes(prompt.spec)}
        named = _Looked(self._colors, image)
        judged = verdict(prompt.spec, objects, named)
        score = dense_reward(prompt.spec, objects, named) if self.dense else float(judged.correct)
        details = {
            "reasons": judged.reasons,
            "objects": {name: [[*one.box, round(one.score, 4)] for one in found] for name, found in objects.items()},
            "colors": named.seen,
        }
        return _parts.row(prompt, index, Score(score, None, details), judged.correct)

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """A picture counts in its prompt's tag."""
        return entries_of_pictures(rows)

    @staticmethod
    def extras(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """Share of all pictures, and of prompts with a right picture among theirs; neither is the overall number."""
        by_prompt: dict[str, list[bool]] = {}
        for row in rows:
            if row["exact"] is not None:
                by_prompt.setdefault(row["prompt_id"], []).append(row["exact"])
        right = [exact for several in by_prompt.values() for exact in several]
        if not right:
            return {}
        any_right = [any(several) for several in by_prompt.values()]
        return {"images": float(np.mean(right)), "prompts with a right picture": float(np.mean(any_right))}

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<%05d>/samples/<%04d>.png, with the prompt's line in <%05d>/metadata.jsonl."""
        line = json.dumps({key: prompt.spec[key] for key in prompt.spec if key != "row"})
        return {
            f"{prompt.spec['row']:05d}/metadata.jsonl": line.encode(),
            **_layouts.pictures(self.named(prompt)[: len(images)], images),
        }

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture."""
        return [f"{prompt.spec['row']:05d}/samples/{index:04d}.png" for index in range(self._set.images_per_prompt)]


class _Looked:
    """The colours of detections in one picture, each looked at once, and what was seen."""

    def __init__(self, colors: Any, image: Image.Image) -> None:
        self.colors, self.image = colors, image
        self.seen: dict[str, list[str]] = {}

    def __call__(self, name: str, detections: Sequence[Detection]) -> list[str]:
        known = self.seen.setdefault(name, [])
        further = detections[len(known) :]
        if further:
            known += self.colors(name, [crop(self.image, one) for one in further])
        return known[: len(detections)]


def _prompts(file: Path) -> Iterator[Prompt]:
    found = _files.objects(file)
    for number, line in enumerate(found):
        _files.one_of(file, f"line {number + 1}", line, ("tag", "include", "prompt"))
        problem = _problem(line)
        if problem:
            raise ValueError(f"{file}, line {number + 1}: {problem}; take the file as it was published")
        yield Prompt(f"geneval-{number:05d}", line["prompt"], line["tag"], spec={**line, "row": number})
    note = _files.number(file, NUM_PROMPTS, len(found), "prompts")
    if note:
        _log.warning(note)


def _problem(line: Mapping[str, Any]) -> str | None:
    if line["tag"] not in TAGS:
        return f"the tag {line['tag']!r} is none of {', '.join(TAGS)}"
    for place, clause in enumerate([*line["include"], *line.get("exclude", [])]):
        if not isinstance(clause, dict) or not {"class", "count"} <= clause.keys() <= KEYS:
            return f"the clause {clause!r} needs class and count, and may have color and position"
        if "position" in clause and not 0 <= clause["position"][1] < place:
            return f"the position {clause['position']!r} refers to no earlier clause"
    return None


def _classes(spec: Mapping[str, Any]) -> list[str]:
    """The classes that a prompt's clauses name, each once."""
    return list(dict.fromkeys(clause["class"] for clause in [*spec["include"], *spec.get("exclude", [])]))
