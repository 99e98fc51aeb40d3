"""Several judges at once: a weighted sum of some, and others that only watch.

Read this before adding judges up: their scales differ, and one that is trained on no longer measures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from selfportrait.judges._members import Member
from selfportrait.types import Prompt, Score

__all__ = ["Weighted"]

NOBODY: dict[str, Member] = {}


class Weighted:
    """Score a picture by the sum over `parts` of weight times (score - mean) / std, each a judge by name with settings.

    Without `mean` and `std` the raw scores are added, whose scales differ: PickScore is near 20, a cosine near 0.3.
    Give both for z-scores, from a set that you judged before: they are settings and not taken from the batch, so that
    a picture's score does not depend on the others. A score is missing where one of the parts is missing.
    The judges of `watch` are held out: their scores are in the details under "watch", count nothing, and nothing is
    missing without them; their means over training tell a better picture from one that fools its judge.
    A part's name is its judge's, or any other word where it has a setting `name`.
    """

    def __init__(self, *, parts: dict[str, Member], watch: dict[str, Member] = NOBODY) -> None:
        self.parts, self.watch = parts, watch
        both = [name for name in self.watch if name in parts]
        if both:
            raise ValueError(f"{both[0]} is among the parts and watches: a judge that is trained on is not held out")

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; what every judge said is in the details."""
        said, seen = (
            {name: part.judge(prompts, images) for name, part in several.items()}
            for several in (self.parts, self.watch)
        )
        return [
            self._sum(
                {name: scores[index] for name, scores in said.items()},
                {name: scores[index] for name, scores in seen.items()},
            )
            for index in range(len(images))
        ]

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged, which is so where a part cannot; None where one can."""
        said = {name: part.judge.lacks(prompt) for name, part in self.parts.items() if hasattr(part.judge, "lacks")}
        return next((f"{name}: {reason}" for name, reason in said.items() if reason), None)

    def _sum(self, said: Mapping[str, Score], seen: Mapping[str, Score]) -> Score:
        details: dict[str, Any] = {"parts": {name: self.parts[name].details(score) for name, score in said.items()}}
        if self.watch:
            details["watch"] = {name: self.watch[name].details(score) for name, score in seen.items()}
        missing = [f"{name}: {score.reason}" for name, score in said.items() if score.value is None]
        if missing:
            return Score(None, "; ".join(missing), details)
        counted = [self.parts[name].weight * one["counts"] for name, one in details["parts"].items()]
        return Score(float(sum(counted)), None, details)
