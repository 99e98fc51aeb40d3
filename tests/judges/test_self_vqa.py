"""The self-judge: its three scores, what is missing, and what it leaves in the details."""

import json
import math

import pytest
from PIL import Image

from selfportrait import config
from selfportrait.cli import main
from selfportrait.judges.self_vqa import SelfVqa
from selfportrait.stages import hand_over, score
from selfportrait.types import Prompt, Question

IMAGE = Image.new("RGB", (8, 8), "red")
GOLDEN = {"a?": (0.9, 0.05), "b?": (0.6, 0.3), "c?": (0.2, 0.7)}


def asking(*questions: str, id: str = "p") -> Prompt:
    return Prompt(id, "a prompt", questions=tuple(Question(text) for text in questions))


@pytest.fixture
def golden(scripted):
    return scripted(answers=lambda image, question: GOLDEN[question])


def test_the_golden_case(golden) -> None:
    # s = .85, .3, -.5; their mean is .65 / 3
    (found,) = SelfVqa(golden, 0)([asking("a?", "b?", "c?")], [IMAGE])
    assert found.value == pytest.approx(0.21666667)
    assert found.details["exact"] is False
    assert [question["yes"] for question in found.details["questions"]] == [True, True, False]
    assert [question["p_yes"] for question in found.details["questions"]] == pytest.approx([0.9, 0.6, 0.2])
    assert [question["p_no"] for question in found.details["questions"]] == pytest.approx([0.05, 0.3, 0.7])
    json.dumps(dict(found.details), allow_nan=False)


def test_the_ratio_of_yes(golden) -> None:
    (found,) = SelfVqa(golden, 0, score="yes_ratio")([asking("a?", "b?", "c?")], [IMAGE])
    assert found.value == pytest.approx(2 / 3)


def test_a_tie_is_not_a_yes(scripted) -> None:
    tied = scripted(answers=lambda image, question: (0.4, 0.4))
    (found,) = SelfVqa(tied, 0, score="yes_ratio")([asking("a?")], [IMAGE])
    assert found.value == 0
    assert not found.details["questions"][0]["yes"]
    assert not found.details["exact"]
    assert SelfVqa(tied, 0)([asking("a?")], [IMAGE])[0].value == 0


def test_a_question_whose_faithful_answer_is_no_counts_the_other_way(golden) -> None:
    prompt = Prompt("p", "x", questions=(Question("a?"), Question("c?", answer=False)))
    (found,) = SelfVqa(golden, 0)([prompt], [IMAGE])
    assert found.value == pytest.approx((0.85 + 0.5) / 2)
    assert found.details["exact"]
    assert [question["expected"] for question in found.details["questions"]] == [True, False]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_every_batch_size_scores_alike(batch_size: int, golden) -> None:
    prompts = [asking("a?", "b?"), asking(), asking("c?"), asking("b?", "c?", "a?")]
    scores = SelfVqa(golden, 0, batch_size=batch_size)(prompts, [IMAGE] * 4)
    assert [one.value for one in scores] == [pytest.approx(v) if v else v for v in (0.575, None, -0.5, 0.65 / 3)]
    assert max(golden.sizes) <= batch_size


def test_a_prompt_without_questions_is_missing(golden) -> None:
    (found,) = SelfVqa(golden, 0)([asking()], [IMAGE])
    assert found.value is None
    assert found.reason == "the prompt 'a prompt' has no questions: write them first"


@pytest.mark.parametrize("bad", [(math.nan, 0.5), (0.5, math.inf), (-0.1, 0.5), (1.5, 0.1)])
def test_what_is_no_probability_is_missing(bad: tuple[float, float], scripted) -> None:
    model = scripted(answers=lambda image, question: bad if question == "b?" else (0.9, 0.1))
    scores = SelfVqa(model, 0)([asking("a?", "b?"), asking("a?")], [IMAGE, IMAGE])
    assert scores[0].value is None
    assert "'b?' are no probabilities" in scores[0].reason
    assert scores[1].value == pytest.approx(0.8)


def test_random_scores_depend_on_the_picture_and_on_nothing_else(golden) -> None:
    blue = Image.new("RGB", (8, 8), "blue")
    judge = SelfVqa(golden, 0, score="random")
    prompts = [asking("a?"), asking(id="q"), asking("a?")]
    values = [one.value for one in judge(prompts, [IMAGE, IMAGE, blue])]
    assert len(set(values)) == 3
    assert all(-1 <= value <= 1 for value in values)
    assert [judge([p], [i])[0].value for p, i in zip(prompts[::-1], [blue, IMAGE, IMAGE], strict=True)] == values[::-1]
    assert SelfVqa(golden, 1, score="random")(prompts, [IMAGE] * 3)[0].value != values[0]
    assert golden.sizes == []


def test_a_model_that_loses_answers_is_refused(golden) -> None:
    answer = golden.answer
    golden.answer = lambda images, questions: tuple(part[:1] for part in answer(images, questions))
    with pytest.raises(ValueError, match="gave 1 probabilities of yes and 1 of no for 2 questions"):
        SelfVqa(golden, 0)([asking("a?", "b?")], [IMAGE])


def test_a_config_names_it_and_a_recipe_hands_over_the_model(golden) -> None:
    section = config.bind_section("judge", {"name": "self_vqa", "score": "yes_ratio"})
    assert section.takes_policy
    judge = hand_over(section.build(), policy=golden, seed=3)
    assert (judge.score, judge.seed) == ("yes_ratio", 3)
    assert score(judge, [asking("a?")], [IMAGE])[0].value == 1
    with pytest.raises(ValueError, match="the model int answers no questions"):
        hand_over(section.build(), policy=5, seed=3)


def test_the_command_that_has_no_model_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "--judge", "self_vqa", "a.png"]) == 2
    assert "The judge self_vqa is the model itself" in capsys.readouterr().err
