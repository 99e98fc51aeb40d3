"""The judge that asks a vision-language model: what it asks, what answers are worth, and what is missing."""

import json
from collections.abc import Sequence

import pytest
from PIL import Image

from selfportrait import config
from selfportrait.asking.pictures import Reply, Request
from selfportrait.asking.verdicts import YesNo
from selfportrait.judges.vlm import Vlm
from selfportrait.types import Prompt, Question

RED = Image.new("RGB", (64, 48), "red")
ODD = [Image.new("RGB", (1, 1)), Image.new("RGB", (20000, 10)), Image.new("I;16", (40, 40)), Image.new("P", (40, 40))]


class Scripted:
    """Says what it is told, by a word of the question."""

    def __init__(self, **answers: YesNo | Reply) -> None:
        self.answers, self.asked = answers, []

    def _each(self, requests: Sequence[Request]):
        self.asked += [tuple(request) for request in requests]
        return [next(said for word, said in self.answers.items() if word in str(request[1])) for request in requests]

    __call__ = yes_no = _each


def judged(vlm: Scripted, prompt: Prompt, **settings):
    (score,) = Vlm(vlm=vlm, **settings)([prompt], [RED])
    return score


def test_one_question_about_the_whole_prompt() -> None:
    vlm = Scripted(cat=YesNo(0.6, 0.2))
    found = judged(vlm, Prompt("p", 'a "red"\n cat.'))
    assert found.value == pytest.approx(0.75)
    assert vlm.asked[0][1] == "Does this image show \"a 'red' cat\"? Answer the question with Yes or No."
    assert vlm.asked[0][0].tobytes() == RED.tobytes()
    assert found.details["exact"] is True
    assert judged(vlm, Prompt("p", "a cat"), score="difference").value == pytest.approx(0.4)
    json.dumps(dict(found.details))


def test_a_prompts_own_questions_are_averaged() -> None:
    # 0.8 / (0.8 + 0.2) = 0.8; no is right: 0.3 / (0.1 + 0.3) = 0.75; differences 0.6 and 0.2
    vlm = Scripted(cat=YesNo(0.8, 0.2), dog=YesNo(0.1, 0.3))
    prompt = Prompt("p", "x", questions=(Question("Is there a cat?"), Question("Is there a dog?", answer=False)))
    found = judged(vlm, prompt, ask="questions")
    assert found.value == pytest.approx((0.8 + 0.75) / 2)
    assert [text for _, text in vlm.asked] == [
        "Is there a cat? Please answer 'yes' or 'no' without explanation.",
        "Is there a dog? Please answer 'yes' or 'no' without explanation.",
    ]
    assert found.details == {
        "exact": True,
        "questions": [
            {"text": "Is there a cat?", "expected": True, "p_yes": 0.8, "p_no": 0.2, "yes": True},
            {"text": "Is there a dog?", "expected": False, "p_yes": 0.1, "p_no": 0.3, "yes": False},
        ],
    }
    assert judged(vlm, prompt, ask="questions", score="difference").value == pytest.approx((0.6 + 0.2) / 2)


def test_questions_of_several_prompts_keep_to_their_prompts() -> None:
    vlm = Scripted(cat=YesNo(1, 0), dog=YesNo(0, 1))
    cat, dog = Question("cat?"), Question("dog?")
    prompts = [Prompt("a", "x", questions=(cat, dog)), Prompt("b", "x"), Prompt("c", "x", questions=(dog,))]
    scores = Vlm(vlm=vlm, ask="questions")(prompts, [RED] * 3)
    assert [score.value for score in scores] == [0.5, None, 0]
    assert "has no questions: write them first, or set ask=prompt" in (scores[1].reason or "")


def test_one_missing_answer_is_a_missing_score_and_never_0() -> None:
    vlm = Scripted(cat=YesNo(0.8, 0.2), dog=YesNo(None, None, "no reply: timed out"))
    prompt = Prompt("p", "x", questions=(Question("cat?"), Question("dog?")))
    found = judged(vlm, prompt, ask="questions")
    assert (found.value, found.reason) == (None, "no reply: timed out")
    assert found.details["questions"][1] == {
        "text": "dog?", "expected": True, "p_yes": None, "p_no": None, "yes": None, "reason": "no reply: timed out",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "value", "reason"),
    [
        (Reply('{"score": 4, "reason": "one ear"}'), 0.8, None),
        (Reply('```{"score": 5}```'), 1.0, None),
        (Reply("lovely"), None, "unparsable: 'lovely'"),
        (Reply('{"score": 7}'), None, "unparsable: '{\"score\": 7}'"),
        (Reply(None, "no reply: status 500"), None, "no reply: status 500"),
    ],
)
def test_a_grade_is_a_fifth_of_itself_or_missing(reply: Reply, value: float | None, reason: str | None) -> None:
    vlm = Scripted(cat=reply)
    found = judged(vlm, Prompt("p", "a {curly} cat"), ask="grade")
    assert (found.value, found.reason) == (value, reason)
    assert 'show "a {curly} cat"?' in vlm.asked[0][1]
    assert '{"score": 1-5, "reason": "one sentence"}' in vlm.asked[0][1]


def test_pictures_are_sent_no_larger_than_asked_for_and_odd_ones_as_usual_ones() -> None:
    vlm = Scripted(cat=YesNo(0.5, 0.5))
    Vlm(vlm=vlm, side=256)([Prompt("p", "a cat")] * len(ODD), ODD)
    for picture, _ in vlm.asked:
        assert picture.mode == "RGB"
        assert 32 <= min(picture.size) <= max(picture.size) <= 256


def test_a_model_of_words_only_can_grade_and_nothing_else() -> None:
    words = lambda requests: [Reply('{"score": 1}') for _ in requests]  # noqa: E731
    assert Vlm(vlm=words, ask="grade")([Prompt("p", "a cat")], [RED])[0].value == 0.2
    with pytest.raises(ValueError, match="function gives no probabilities of yes and no: .*or ask for a grade"):
        Vlm(vlm=words)


def test_a_model_that_loses_answers_is_refused() -> None:
    vlm = Scripted(cat=YesNo(1, 0))
    vlm.yes_no = lambda requests: []
    with pytest.raises(ValueError, match="Scripted gave 0 answers to 1 questions"):
        judged(vlm, Prompt("p", "a cat"))


def test_a_config_names_its_model() -> None:
    pytest.importorskip("openai")
    server = {"name": "endpoint", "url": "http://localhost:8000/v1", "model": "qwen"}
    section = config.bind_section("judge", {"name": "vlm", "ask": "grade", "vlm": server})
    judge = section.build()
    assert (type(judge.vlm).__name__, judge.vlm.model, judge.ask) == ("Endpoint", "qwen", "grade")
    assert section.resolved["vlm"]["retries"] == 4
    with pytest.raises(ValueError, match="judge.vlm.url is missing: judge.vlm endpoint needs it"):
        config.bind_section("judge", {"name": "vlm", "vlm": "endpoint"})
