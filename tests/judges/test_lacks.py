"""What a judge needs of a prompt is known before it sees a picture, and is the reason that it gives when it does."""

from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from selfportrait.judges._members import Member
from selfportrait.judges.count import Count
from selfportrait.judges.micro_count import MicroCount
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.judges.vlm import Vlm
from selfportrait.judges.weighted import Weighted
from selfportrait.types import Prompt, Question

PICTURE = Image.new("RGB", (64, 64))


class Eyes:
    """Sees nothing, and answers nothing: no network is needed to know that nothing was asked."""

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Any]]:
        return [[] for _ in pictures]

    def yes_no(self, asked: Sequence[Any]) -> list[Any]:
        return []


def ocr() -> Any:
    pytest.importorskip("rapidocr_onnxruntime")
    from selfportrait.judges.ocr import Ocr

    return Ocr()


JUDGES = {
    "micro_questions": (MicroQuestions, "a red circle", "a castle by the sea"),
    "micro_count": (MicroCount, "two red circles", "a castle by the sea"),
    "count": (lambda: Count(detector=Eyes()), "two castles", "blue"),
    "ocr": (ocr, 'the word "CAT" in red', "a castle by the sea"),
    "vlm": (lambda: Vlm(vlm=Eyes(), ask="questions"), None, "a castle by the sea"),
    "weighted": (lambda: Weighted(parts={"shapes": Member(MicroQuestions())}), "a red circle", "a castle by the sea"),
}


@pytest.mark.parametrize("name", JUDGES)
def test_what_a_prompt_lacks_is_why_its_score_is_missing(name: str) -> None:
    build, fitting, lacking = JUDGES[name]
    judge, prompt = build(), Prompt("p", lacking)
    (score,) = judge([prompt], [PICTURE])
    assert score.value is None
    assert judge.lacks(prompt) == score.reason
    fits = Prompt("p", fitting) if fitting else Prompt("p", lacking, questions=(Question("Is it there?"),))
    assert judge.lacks(fits) is None


def test_a_question_about_the_whole_prompt_needs_none_of_its_own() -> None:
    assert Vlm(vlm=Eyes(), ask="prompt").lacks(Prompt("p", "a castle")) is None
