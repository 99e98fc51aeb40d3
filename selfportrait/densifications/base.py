"""What a densification is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Protocol

from selfportrait.asking.base import Written
from selfportrait.types import Prompt

__all__ = ["Densification"]


class Densification(Protocol):
    """Takes base prompts and perturbed prompts together, and gives two detailed prompts a slot by `asking.roles.dense`.

    A slot that failed is left out as a whole.
    """

    def __call__(self, prompts: Sequence[Prompt]) -> Written: ...
