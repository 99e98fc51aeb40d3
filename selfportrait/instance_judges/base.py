"""What an instance judge is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from PIL import Image

from selfportrait.boxes import Box, square_around

__all__ = ["TIE", "Comparison", "InstanceJudge", "Seen", "Verdict"]

TIE = "tie"  # the one reason for no verdict that is no failure


class Seen(NamedTuple):
    """An instance where it stands: its whole picture, and its box in that."""

    picture: Image.Image
    box: Box

    def crop(self, context: float, side: int) -> Image.Image:
        """A patch centred on the instance, `context` times its longer side, as `side` by `side` pixels."""
        patch = self.picture.crop(square_around(self.box, self.picture.size, context))
        return patch.resize((side, side), Image.Resampling.BICUBIC)


class Comparison(NamedTuple):
    """One thing in two pictures of a prompt. Which of them is the chosen one is not told."""

    prompt: str
    name: str
    a: Seen
    b: Seen


class Verdict(NamedTuple):
    """Which shows the thing better; None with a reason where nothing can be said, `raw` being what the judge said."""

    better: Literal["A", "B"] | None
    reason: str | None = None
    raw: str = ""


class InstanceJudge(Protocol):
    """Compares instances."""

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict a comparison, in order; two that are alike are a TIE."""
        ...
