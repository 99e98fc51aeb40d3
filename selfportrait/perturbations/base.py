"""What a perturbation is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Protocol

from selfportrait.asking.base import Written
from selfportrait.types import Prompt

__all__ = ["Perturbation"]


class Perturbation(Protocol):
    """Gives each prompt's perturbed prompts, made by `asking.roles.perturbed`; a slot that failed is left out."""

    def __call__(self, prompts: Sequence[Prompt]) -> Written: ...
