"""Questions that the model writes itself: it takes a prompt apart and asks about each part."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

from pydantic import Field

from selfportrait.asking.base import Decoding, Style, Writes, Written, collect, require, write_all
from selfportrait.asking.questions import conversation, read
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Question

__all__ = ["SelfWritten"]


class SelfWritten:
    """Ask the model to divide a prompt into concepts and relations, and for one yes/no question about each.

    Source: SILMM (https://arxiv.org/abs/2412.05818), with the decoding of OSPO
    (https://arxiv.org/abs/2506.02015). Differs from the source: questions are de-duplicated with their order kept, so
    that a score does not depend on the process that computes it.
    """

    def __init__(
        self,
        policy: Writes,
        seed: int,
        *,
        style: Style = "full",
        temperature: Annotated[float, Field(gt=0)] = 1.2,
        top_p: Annotated[float, Field(gt=0, le=1)] = 0.5,
        max_new_tokens: Annotated[int, Field(ge=1)] = 256,
        batch_size: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        require(policy, "write")
        self.policy, self.seed, self.style = policy, seed, style
        self.decoding = Decoding(temperature, top_p, max_new_tokens, batch_size)

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The prompts with their questions, all of which a faithful picture answers with yes."""
        conversations = [conversation(prompt.text, prompt.category, self.style) for prompt in prompts]
        seeds = [derive(self.seed, prompt.id, "questions") for prompt in prompts]
        texts = write_all(self.policy, conversations, seeds, self.decoding, "writing questions")
        return collect(texts, [partial(_asked, prompt) for prompt in prompts])


def _asked(prompt: Prompt, text: str) -> list[Prompt]:
    return [replace(prompt, questions=tuple(Question(question) for question in read(text)))]
