"""What a user brings: pictures with their prompts, with or without scores, or pairs of pictures.

Read this to learn what is refused before weights load; giving.py makes tables of the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from selfportrait import progress
from selfportrait.models.base import Tokenizes
from selfportrait.types import Picture, Prompt

__all__ = ["GivenPair", "GivenPicture", "check_given_pairs", "check_given_pictures"]


class GivenPicture(NamedTuple):
    """A candidate that somebody else drew, with its score where somebody else judged it."""

    prompt: Prompt
    picture: Picture
    score: float | None = None


class GivenPair(NamedTuple):
    """A preference between two pictures of a prompt; the rejected one may have been drawn from another text."""

    prompt: Prompt
    chosen: Picture
    rejected: Picture
    chosen_score: float | None = None
    rejected_score: float | None = None
    rejected_prompt: str | None = None


def check_given_pictures(model: Tokenizes, given: Sequence[GivenPicture]) -> None:
    """Refuse pictures that cannot be candidates: missing, corrupt, of another size; raises before weights load."""
    with progress.bar("reading pictures", total=len(given)) as advance:
        for one in given:
            _read(model, one.picture)
            advance(1)


def check_given_pairs(model: Tokenizes, given: Sequence[GivenPair]) -> None:
    """Refuse pairs that cannot be trained on: besides bad pictures, a picture twice or a prompt that is too long."""
    with progress.bar("reading pairs", total=len(given)) as advance:
        for one in given:
            chosen, rejected = _read(model, one.chosen), _read(model, one.rejected)
            if chosen.tobytes() == rejected.tobytes():
                raise ValueError(
                    f"{one.chosen.where}: chosen and rejected are the same picture; give two, or leave the pair out"
                )
            _check_length(model, one.prompt.text, one.chosen.where)
            advance(1)


def _read(model: Tokenizes, picture: Picture) -> Image.Image:
    pixels, side = picture.read(), model.picture_size
    if pixels.size != (side, side):
        raise ValueError(
            f"{picture.where}: the picture has {pixels.width}x{pixels.height} pixels, expected {side}x{side} as the "
            "model draws them; give pictures of that size"
        )
    return pixels


def _check_length(model: Tokenizes, text: str, where: str) -> None:
    try:
        model.encode([text])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
