"""From probabilities of yes and no to the self-judge's score, by hand."""

from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image
from torch import Tensor, float64, tensor

from selfportrait.judges.self_vqa import SelfVqa
from selfportrait.types import Prompt, Question, Score


class Answerer:
    """A model that gives these probabilities, whatever it is asked."""

    def __init__(self, p_yes: Sequence[float], p_no: Sequence[float]) -> None:
        self.p_yes, self.p_no = p_yes, p_no

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> tuple[Tensor, Tensor]:
        return tensor(self.p_yes, dtype=float64), tensor(self.p_no, dtype=float64)


def judged(p_yes: Sequence[float], p_no: Sequence[float], **settings: Any) -> Score:
    prompt = Prompt("a", "a red star", questions=tuple(Question(f"{index}?") for index in range(len(p_yes))))
    return SelfVqa(Answerer(p_yes, p_no), 0, **settings)([prompt], [Image.new("RGB", (8, 8))])[0]


def differences(score: Score) -> list[float]:
    return [question["p_yes"] - question["p_no"] for question in score.details["questions"]]


def test_by_hand() -> None:
    # .9 - .05, .6 - .3, .2 - .7; their mean is .65 / 3; two of three are yes.
    p_yes, p_no = [0.9, 0.6, 0.2], [0.05, 0.3, 0.7]
    assert differences(judged(p_yes, p_no)) == pytest.approx([0.85, 0.3, -0.5])
    assert judged(p_yes, p_no).value == pytest.approx(0.21666667)
    assert judged(p_yes, p_no, score="yes_ratio").value == pytest.approx(2 / 3)


def test_swapping_yes_and_no_turns_the_score_round() -> None:
    p_yes, p_no = [0.9, 0.6, 0.2], [0.05, 0.3, 0.7]
    assert judged(p_no, p_yes).value == -(judged(p_yes, p_no).value or 0.0)


def test_a_tie_is_no_yes() -> None:
    assert judged([0.5, 0.4], [0.5, 0.3], score="yes_ratio").value == 0.5


def test_probabilities_are_not_made_to_add_up() -> None:
    # .3 against .0 is .3; divided by their sum it would be 1
    assert judged([0.3], [0.0]).value == 0.3
