"""Held-out captions with questions, which the model answers about its own pictures.

Read this before you believe its numbers: nobody from outside judges.
"""

from collections.abc import Sequence
from typing import Annotated

from PIL import Image
from pydantic import Field

from selfportrait import components
from selfportrait.asking.base import Answers, require, texts
from selfportrait.benchmarks._judged import rows
from selfportrait.benchmarks.base import Row, plain
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Question, Score

__all__ = ["SelfJudged"]

NOT_EXACT = "no exact judge knows this prompt"


class SelfJudged:
    """Held-out captions in four categories whose questions the model answers itself, as it is when it is measured.

    A picture is exact when every question is answered yes. A rise says that the model likes its own pictures better,
    which it was trained for: have them judged by somebody else before you report it. It needs nothing but the model,
    so that a run on a large one can be started, watched and compared with itself.
    """

    def __init__(
        self,
        policy: Answers,
        *,
        images_per_prompt: Annotated[int, Field(ge=1)] = 4,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        require(policy, "answer")
        self.policy, self.images_per_prompt, self.seed = policy, images_per_prompt, seed
        self._prompts = _captions()
        self._texts = {plain(prompt.text) for prompt in self._prompts}

    def prompts(self) -> list[Prompt]:
        """The captions, category by category."""
        return self._prompts

    def seeds(self, prompt: Prompt) -> list[int]:
        """The seeds of a prompt's pictures: the same before and after training, and for every model."""
        return [derive("benchmark", self.seed, prompt.id, index) for index in range(self.images_per_prompt)]

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Let the model judge each picture; one row a picture, in order."""
        judge = components.find("judges", "self_vqa")(self.policy, self.seed)
        return rows(judge, prompts, images)

    def is_held_out(self, text: str) -> bool:
        """Whether a prompt is one of the captions."""
        return plain(text) in self._texts

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """Nothing: there is no exact judge."""
        return [Score(None, NOT_EXACT) for _ in images]


def _captions() -> list[Prompt]:
    return [
        Prompt(f"held-out-{category}-{index:02d}", one["text"], category, tuple(map(Question, one["questions"])))
        for category, several in texts("held_out").items()
        for index, one in enumerate(several)
    ]
