"""The self-judge: the policy answers its own questions about its own pictures."""

import hashlib
import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import Field

from selfportrait.asking.base import Answers, require
from selfportrait.asking.yes_no import Answer, answer_all
from selfportrait.seeds import derive
from selfportrait.types import Prompt, Score

__all__ = ["SelfVqa"]


class SelfVqa:
    """Score a picture by the policy's answers to its prompt's questions, the mean of p(yes) - p(no) in [-1, 1].

    A question whose faithful answer is no counts with the other sign. `score` "yes_ratio" is the share of questions
    that are answered as they should be, a tie not being one; "random" is a number in [-1, 1] that asks nothing, keyed
    by seed, prompt and pixels, so that it depends on no batch and no order. The probabilities are those of the whole
    vocabulary: they are not divided by their sum, because OSPO's threshold of 0.6 belongs to them as they are.
    A prompt without questions, and a probability that is none, have no score.
    Source: Eq. 1 of SILMM (https://arxiv.org/abs/2412.05818), which is the local score of OSPO
    (https://arxiv.org/abs/2506.02015). Differs from the source: nothing in "difference".
    """

    def __init__(
        self,
        policy: Answers,
        seed: int,
        *,
        score: Literal["difference", "yes_ratio", "random"] = "difference",
        batch_size: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        require(policy, "answer")
        self.policy, self.seed, self.score, self.batch_size = policy, seed, score, batch_size

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; every question's p(yes) and p(no) is in the details."""
        if self.score == "random":
            return [Score(self._random(prompt, image)) for prompt, image in zip(prompts, images, strict=True)]
        answers = answer_all(self.policy, prompts, images, self.batch_size)
        return [self._judge(prompt, several) for prompt, several in zip(prompts, answers, strict=True)]

    def _judge(self, prompt: Prompt, answers: Sequence[Answer]) -> Score:
        if not answers:
            return Score(None, f"the prompt {prompt.text!r} has no questions: write them first")
        for question, p_yes, p_no in (answer for answer in answers if not answer.is_valid):
            return Score(None, f"p(yes) = {p_yes}, p(no) = {p_no} for {question.text!r} are no probabilities")
        values = [answer.difference if self.score == "difference" else float(answer.is_right) for answer in answers]
        return Score(sum(values) / len(values), None, _details(answers))

    def _random(self, prompt: Prompt, image: Image.Image) -> float:
        pixels = hashlib.blake2b(image.convert("RGB").tobytes(), digest_size=16).hexdigest()
        return random.Random(derive(self.seed, prompt.id, pixels, "random score")).uniform(-1, 1)


def _details(answers: Sequence[Answer]) -> dict[str, Any]:
    """The answers as JSON; `exact` says whether every one is as it should be."""
    questions = [
        {
            "text": answer.question.text,
            "yes": answer.p_yes > answer.p_no,
            "expected": answer.question.answer,
            "p_yes": answer.p_yes,
            "p_no": answer.p_no,
        }
        for answer in answers
    ]
    return {"exact": all(answer.is_right for answer in answers), "questions": questions}
