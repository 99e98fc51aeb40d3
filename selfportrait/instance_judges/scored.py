"""An instance judge out of any judge that scores pictures: two crops, two scores."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from selfportrait.instance_judges.base import TIE, Comparison, Verdict
from selfportrait.types import Prompt, Score

__all__ = ["Scored"]


class Scored:
    """Compare two crops by the scores that a judge of pictures gives them.

    The judge sees crops as IAPO's judge does (`context`, `side`) together with the pair's prompt, or with the
    instance's name where `against` says so. Scores that differ by no more than `min_margin` are a tie.
    """

    def __init__(
        self,
        judge: Callable[[Sequence[Prompt], Sequence[Image.Image]], list[Score]],
        *,
        against: Literal["prompt", "name"] = "prompt",
        context: Annotated[float, Field(ge=1)] = 1.5,
        side: Annotated[int, Field(ge=1)] = 336,
        min_margin: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        self.judge, self.against, self.context, self.side, self.min_margin = judge, against, context, side, min_margin

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict a comparison, with both scores in `raw`; without one of them there is no verdict."""
        texts = [one.prompt if self.against == "prompt" else one.name for one in comparisons for _ in "AB"]
        crops = [seen.crop(self.context, self.side) for one in comparisons for seen in (one.a, one.b)]
        scores = self.judge([Prompt(text, text) for text in texts], crops)
        if len(scores) != len(crops):
            raise ValueError(
                f"the judge {type(self.judge).__name__} returned {len(scores)} scores for {len(crops)} crops; it must "
                "return one each, in order"
            )
        return [self._compare(a, b) for a, b in zip(scores[::2], scores[1::2], strict=True)]

    def _compare(self, a: Score, b: Score) -> Verdict:
        raw = f"A {_said(a)}, B {_said(b)}"
        if any(score.value is None or not math.isfinite(score.value) for score in (a, b)):
            return Verdict(None, "a crop has no score", raw)
        assert a.value is not None
        assert b.value is not None
        if abs(a.value - b.value) <= self.min_margin:
            return Verdict(None, TIE, raw)
        return Verdict("A" if a.value > b.value else "B", None, raw)


def _said(score: Score) -> str:
    return f"{score.value:g}" if score.value is not None else f"no score ({score.reason})"
