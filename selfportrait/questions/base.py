"""What a source of questions is. Read this before adding a file to this folder."""

from collections.abc import Sequence
from typing import Protocol

from selfportrait.asking.base import Written
from selfportrait.types import Prompt

__all__ = ["QuestionSource"]


class QuestionSource(Protocol):
    """Gives the same prompts with questions, in order; a prompt that got none is left out and counted."""

    def __call__(self, prompts: Sequence[Prompt]) -> Written: ...
