"""The prompt as one question, not taken apart."""

from collections.abc import Sequence
from dataclasses import replace

from selfportrait.asking.base import Written
from selfportrait.asking.questions import whole_question
from selfportrait.types import Prompt, Question

__all__ = ["WholePrompt"]


class WholePrompt:
    """Ask one question a prompt, whether the picture shows all of it.

    Source: after the template of VQAScore (https://arxiv.org/abs/2404.01291).
    """

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The prompts, each with one question; none is left out."""
        return Written([replace(prompt, questions=(Question(whole_question(prompt.text)),)) for prompt in prompts])
