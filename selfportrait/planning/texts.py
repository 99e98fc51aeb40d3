"""How long texts are expected to be that a model has yet to write: as long as the worked examples it is shown.

Read this to see what the numbers of text tokens and questions in a plan rest on.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from selfportrait.asking import densify, perturb, questions
from selfportrait.asking.base import Style, texts
from selfportrait.asking.captions import STREAMS
from selfportrait.types import Prompt

__all__ = ["TEMPLATE", "answer_tokens", "dense_tokens", "num_questions", "prompt_tokens", "request_tokens"]

CHARACTERS = 4  # a token, as English text has on average
TEMPLATE = 10  # tokens that a model puts around a prompt
ANSWERS_A_REQUEST = 5  # how long a request is: instructions, and three worked examples with what was asked in them


def answer_tokens(request: str, style: Style) -> int:
    """Tokens of one answer to a request: captions, perturb, densify or questions."""
    answers = {"captions": _captions, "perturb": _perturbed, "densify": _dense, "questions": _questions}
    return _tokens(answers[request](style))


def request_tokens(request: str, style: Style) -> int:
    """Tokens of what a model is asked; in the compact style there are no examples."""
    return answer_tokens(request, style) * (ANSWERS_A_REQUEST if style == "full" else 1)


def prompt_tokens(prompts: Sequence[Prompt] | None) -> int:
    """Tokens of one short prompt; None where there are none yet."""
    shown = [shot.text for stream in STREAMS.values() for shot in stream.shots]
    return _tokens(shown if prompts is None else [prompt.text for prompt in prompts])


def dense_tokens() -> int:
    """Tokens of one detailed prompt."""
    return _tokens([shot["dense_base"] for shots in texts("densify").values() for shot in shots])


def num_questions() -> float:
    """Questions that the model writes about one prompt."""
    return fmean(len(shot["questions"]) for shot in _shots("questions"))


def _captions(style: Style) -> list[str]:
    return [shot.answer() for stream in STREAMS.values() for shot in stream.shots]


def _perturbed(style: Style) -> list[str]:
    return [perturb.answer(perturb.Shot(**shot), style) for shot in _shots("perturb")]


def _dense(style: Style) -> list[str]:
    return [densify.answer(densify.Shot(**shot), style) for shot in _shots("densify")]


def _questions(style: Style) -> list[str]:
    return [questions.answer(shot["units"], shot["questions"], style) for shot in _shots("questions")]


def _shots(name: str) -> list[dict[str, Any]]:
    return [shot for shots in texts(name).values() for shot in shots]


def _tokens(written: Sequence[str]) -> int:
    return round(fmean(len(text) for text in written) / CHARACTERS)
