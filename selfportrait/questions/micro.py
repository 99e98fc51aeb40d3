"""The exact questions of the micro world, written by no model."""

from collections.abc import Sequence
from dataclasses import replace

from selfportrait.asking.base import Written
from selfportrait.micro.language import parse, questions
from selfportrait.types import Prompt

__all__ = ["Micro"]


class Micro:
    """Ask every check that a picture of a prompt of the micro language has to pass, and nothing else."""

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The prompts with their questions; raises ValueError for a prompt of another language."""
        return Written([replace(prompt, questions=questions(parse(prompt.text))) for prompt in prompts])
