"""What a planner is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from PIL import Image

__all__ = ["PicturePair", "Plan", "Planner"]


class PicturePair(NamedTuple):
    """Two pictures of a prompt, the first of them preferred."""

    prompt: str
    chosen: Image.Image
    rejected: Image.Image


class Plan(NamedTuple):
    """The names of things, none twice; none with a reason where the planner failed, `raw` being what it said."""

    names: tuple[str, ...]
    reason: str | None = None
    raw: str = ""


class Planner(Protocol):
    """Names the things that are to be seen in both pictures of a pair."""

    def __call__(self, pairs: Sequence[PicturePair]) -> list[Plan]:
        """One plan a pair, in order."""
        ...
