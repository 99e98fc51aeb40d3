"""The judge that asks a vision-language model about a picture: one question, the prompt's questions, or for a grade.

Read this to see what each asks and what its answers are worth; the wordings are in `asking/verdicts.py`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import Field

from selfportrait import canvas
from selfportrait.asking.base import one_line
from selfportrait.asking.pictures import Reply, Request, ask
from selfportrait.asking.verdicts import GRADE, QUESTION, WHOLE, YesNo, grade
from selfportrait.components import Part
from selfportrait.types import Prompt, Question, Score

__all__ = ["Vlm"]

_VLM = Part("vlms", "local")


class Vlm:
    """Score a picture by the answers of a vision-language model, which is another one than the policy.

    `ask` "prompt" is one question about the whole prompt, after the template of VQAScore
    (https://arxiv.org/abs/2404.01291); "questions" are the prompt's own, whose scores are averaged; "grade" asks for a
    grade from 1 to 5, which is divided by 5. An answer to a question counts as p(yes) / (p(yes) + p(no)), or with
    `score` "difference" as p(yes) - p(no); where a faithful picture answers no, yes and no change places.
    `vlm` is the name of one, or a section with its settings. A picture is sent with at most `side` pixels a side.
    Where an answer is lacking or cannot be read the score is missing, with the reason.
    """

    def __init__(
        self,
        *,
        vlm: Annotated[Callable[[Sequence[Request]], list[Reply]] | None, _VLM] = None,
        ask: Literal["prompt", "questions", "grade"] = "prompt",
        score: Literal["ratio", "difference"] = "ratio",
        side: Annotated[int, Field(ge=32)] = 1024,
    ) -> None:
        self.vlm: Any = vlm or _VLM.build()
        self.ask, self.score, self.side = ask, score, side
        if ask != "grade" and not callable(getattr(self.vlm, "yes_no", None)):
            raise ValueError(
                f"the model {type(self.vlm).__name__} gives no probabilities of yes and no: give one with yes_no, such "
                "as vlm.name=local or endpoint, or ask for a grade"
            )

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; every answer is in the details."""
        shown = [canvas.fit(image, longest=self.side).picture for image in images]
        if self.ask == "grade":
            texts = [GRADE.format(prompt=_plain(prompt.text)) for prompt in prompts]
            requests = [(picture, text) for picture, text in zip(shown, texts, strict=True)]
            return [_graded(reply) for reply in ask(self.vlm, requests)]
        questions = [self._questions(prompt) for prompt in prompts]
        asked = [(picture, text) for picture, own in zip(shown, questions, strict=True) for text, _ in own]
        answers: list[YesNo] = self.vlm.yes_no(asked) if asked else []
        if len(answers) != len(asked):
            raise ValueError(
                f"the model {type(self.vlm).__name__} gave {len(answers)} answers to {len(asked)} questions; it must "
                "give one each, in order"
            )
        rest = iter(answers)
        return [
            self._judge(prompt, [question for _, question in own], list(islice(rest, len(own))))
            for prompt, own in zip(prompts, questions, strict=True)
        ]

    def lacks(self, prompt: Prompt) -> str | None:
        """Why no picture of a prompt can be judged; None where one can."""
        if self.ask == "questions" and not prompt.questions:
            return f"the prompt {prompt.text!r} has no questions: write them first, or set ask=prompt"
        return None

    def _questions(self, prompt: Prompt) -> list[tuple[str, Question]]:
        """The questions as they are put, with those they stand for."""
        if self.ask == "prompt":
            whole = WHOLE.format(prompt=_plain(prompt.text))
            return [(whole, Question(whole))]
        return [(QUESTION.format(question=one_line(one.text)), one) for one in prompt.questions]

    def _judge(self, prompt: Prompt, questions: Sequence[Question], answers: Sequence[YesNo]) -> Score:
        if not questions:
            return Score(None, self.lacks(prompt))
        details = {"questions": [_said(*pair) for pair in zip(questions, answers, strict=True)]}
        reason = next((one.reason or "no reason given" for one in answers if one.ratio is None), None)
        if reason is not None:
            return Score(None, reason, details)
        values = [self._value(*pair) for pair in zip(questions, answers, strict=True)]
        is_exact = all(one["yes"] == one["expected"] for one in details["questions"])
        return Score(sum(values) / len(values), None, {"exact": is_exact, **details})

    def _value(self, question: Question, answer: YesNo) -> float:
        assert answer.p_yes is not None
        assert answer.p_no is not None
        right, wrong = (answer.p_yes, answer.p_no) if question.answer else (answer.p_no, answer.p_yes)
        return right - wrong if self.score == "difference" else right / (right + wrong)


def _plain(text: str) -> str:
    """A prompt on one line, without the quotes that would end the quotation it stands in, and without its full stop."""
    return one_line(text).rstrip(". ").replace('"', "'")


def _said(question: Question, answer: YesNo) -> dict[str, Any]:
    said = {"text": question.text, "expected": question.answer, "p_yes": answer.p_yes, "p_no": answer.p_no}
    is_yes = None if answer.p_yes is None or answer.p_no is None else answer.p_yes > answer.p_no
    return {**said, "yes": is_yes, **({"reason": answer.reason} if answer.reason else {})}


def _graded(reply: Reply) -> Score:
    found = grade(reply.text, reply.reason)
    if found.value is None:
        return Score(None, found.reason, {"reply": reply.text})
    return Score(found.value / 5, None, {"exact": found.value == 5, "grade": found.value, "said": found.said})
