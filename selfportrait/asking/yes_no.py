"""Asking a model about pictures: each prompt's questions to its picture, in batches, and what an answer is worth.

Read this to see what p(yes) and p(no) become before a judge or a calibration makes a number of them.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from PIL import Image

from selfportrait.asking.base import Answers
from selfportrait.types import Prompt, Question

__all__ = ["Answer", "answer_all", "put"]


class Answer(NamedTuple):
    """A question with the probabilities of yes and of no, out of the model's whole vocabulary."""

    question: Question
    p_yes: float
    p_no: float

    @property
    def is_valid(self) -> bool:
        """Whether both are probabilities, up to rounding."""
        return all(math.isfinite(p) and 0 <= p <= 1 + 1e-5 for p in (self.p_yes, self.p_no))

    @property
    def difference(self) -> float:
        """p(yes) - p(no), or the reverse where a faithful picture answers no: in [-1, 1], positive is right."""
        return self.p_yes - self.p_no if self.question.answer else self.p_no - self.p_yes

    @property
    def is_right(self) -> bool:
        """Whether the likelier answer is the one of a faithful picture; a tie is not."""
        return self.difference > 0


def put(question: str) -> str:
    """A question as it is put to a picture.

    One wording for every run: the scores, and with them OSPO's threshold of 0.6, depend on it.
    """
    return f"{question} Reply with yes or no only."


def answer_all(
    policy: Answers, prompts: Sequence[Prompt], images: Sequence[Image.Image], batch_size: int
) -> list[list[Answer]]:
    """Ask every question of a prompt about its picture; one list of answers a picture, in order.

    The policy is given the bare questions and words them itself, as `put` does. Raises ValueError where it returns
    another number of answers than it was asked for.
    """
    asked = [(image, question) for prompt, image in zip(prompts, images, strict=True) for question in prompt.questions]
    found: list[Answer] = []
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        p_yes, p_no = policy.answer([image for image, _ in batch], [question.text for _, question in batch])
        if len(p_yes) != len(batch) or len(p_no) != len(batch):
            raise ValueError(
                f"the model {type(policy).__name__} gave {len(p_yes)} probabilities of yes and {len(p_no)} of no for "
                f"{len(batch)} questions; answer must return one of each, in order"
            )
        found += map(Answer, (question for _, question in batch), p_yes.tolist(), p_no.tolist())
    rest = iter(found)
    return [list(islice(rest, len(prompt.questions))) for prompt in prompts]
