"""The judge that counts: as many of each thing as the prompt asks for, by a detector.

Read this to see what a count is worth, and what becomes of a thing that the detector does not know.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from PIL import Image

from selfportrait.components import Part
from selfportrait.judges._wanted import Wanted, given, read
from selfportrait.types import Detection, Prompt, Score

__all__ = ["Count"]

_DETECTOR = Part("detectors", "d_fine")
Finds = Callable[[Sequence[Image.Image], Sequence[Sequence[str]]], list[list[Detection]]]


class Count:
    """Count the things that a prompt names and compare with how many it asks for, by the boxes of a detector.

    `detector` is the name of one, or a section with its settings. A thing's `score` is "relative",
    max(0, 1 - |n - n*| / n*), or "exact", 1 where n = n* and else 0; of n* = 0 both are exact. Over several things it
    is their mean, or with `strict` their product. What counts is read from the prompt ("three apples and two dogs", "a
    cat"; articles only with `articles`), or given in its `spec`. A prompt that names nothing countable has no score,
    nor has one that asks for a number of what the detector does not know; a thing with an article that it does not
    know, such as "a park", is left out.
    Source: the counting reward of GPO, Table 1, as 1 minus the error that is printed there, clipped at 0.
    """

    def __init__(
        self,
        *,
        detector: Annotated[Finds | None, _DETECTOR] = None,
        score: Literal["relative", "exact"] = "relative",
        strict: bool = False,
        articles: bool = True,
    ) -> None:
        self.detector: Finds = detector or _DETECTOR.build()
        self.score, self.strict, self.articles = score, strict, articles

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; wanted and found numbers, boxes and confidences are in the details."""
        plans = [self._plan(prompt) for prompt in prompts]
        names = [[] if plan.reason else [one.name for one in plan.wanted] for plan in plans]
        found = self.detector(images, names)
        if len(found) != len(images):
            raise ValueError(
                f"the detector {type(self.detector).__name__} returned {len(found)} lists for {len(images)} pictures; "
                "it must return one each, in order"
            )
        return [self._judge(*one) for one in zip(plans, found, images, strict=True)]

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged; None where one can."""
        return self._plan(prompt).reason

    def _plan(self, prompt: Prompt) -> "_Plan":
        spec = getattr(prompt, "spec", None) or {}
        wanted = given(spec) if "counts" in spec or "include" in spec else read(prompt.text)
        counted = [one for one in wanted if one.is_stated or self.articles]
        known = {one: self._label(one) for one in counted}
        for one in (one for one, label in known.items() if label is None and one.is_stated):
            return _Plan([], f"the detector {type(self.detector).__name__} does not know {one.name!r}")
        merged: dict[str, Wanted] = {}
        for one, label in known.items():
            if label is not None:
                before = merged[label].count if label in merged else 0
                merged[label] = Wanted(label, before + one.count)
        if not merged:
            return _Plan([], f"the prompt {prompt.text!r} names nothing that can be counted")
        return _Plan(list(merged.values()))

    def _label(self, one: Wanted) -> str | None:
        """What the detector looks for under a name; things of one label cannot be told apart, and count together.

        Words after the thing ("kite flew") are dropped where a closed vocabulary knows it only without them.
        """
        label = getattr(self.detector, "label", None)
        if label is None:
            return one.name
        words = one.name.split()
        starts = (" ".join(words[:end]) for end in range(len(words), 0, -1))
        return next((found for start in starts if (found := label(start)) is not None), None)

    def _judge(self, plan: "_Plan", detections: Sequence[Detection], image: Image.Image) -> Score:
        if plan.reason:
            return Score(None, plan.reason)
        counts = [_counted(one, detections) for one in plan.wanted]
        values = [self._value(one["found"], one["wanted"]) for one in counts]
        value = math.prod(values) if self.strict else sum(values) / len(values)
        details = {
            "exact": all(one["found"] == one["wanted"] for one in counts),
            "counts": counts,
            "size": list(image.size),
            "detector": type(self.detector).__name__,
        }
        return Score(value, None, details)

    def _value(self, found: int, wanted: int) -> float:
        if self.score == "exact" or wanted == 0:
            return float(found == wanted)
        return max(0.0, 1 - abs(found - wanted) / wanted)


class _Plan(NamedTuple):
    """What to look for, or the reason why not."""

    wanted: list[Wanted]
    reason: str | None = None


def _counted(one: Wanted, detections: Sequence[Detection]) -> Mapping[str, Any]:
    own = [detection for detection in detections if detection.name == one.name]
    return {
        "name": one.name,
        "wanted": one.count,
        "found": len(own),
        "boxes": [list(detection.box) for detection in own],
        "confidences": [detection.score for detection in own],
    }
