"""Whether a self-judge that looks, guesses, or says yes to everything is told from the others."""

import random

import pytest
from PIL import Image

from selfportrait.asking.calibration import calibrate
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import checks, parse, questions, say
from selfportrait.micro.scenes import claim, lay_out
from selfportrait.micro.world import render
from selfportrait.types import Prompt, Score


@pytest.fixture(scope="module")
def pictures() -> tuple[list[Prompt], list[Image.Image]]:
    """Forty prompts, every other one with a picture of another prompt."""
    rng = random.Random(0)
    claims = [claim(category, rng) for category in ("color", "numeracy") for _ in range(20)]
    prompts = [Prompt(str(i), say(one), questions=questions(one)) for i, one in enumerate(claims)]
    images = [render(lay_out(claims[i if i % 2 else (i + 7) % 40], rng)) for i in range(40)]
    return prompts, images


def looks(image: Image.Image, question: str) -> tuple[float, float]:
    """The truth, softly; every question of the micro language is a check of some claim."""
    found, background = detect(image), background_of(image)
    is_yes = verify(_CHECKS[question], found, background)
    return (0.8, 0.1) if is_yes else (0.1, 0.8)


_CHECKS = {}


@pytest.fixture(autouse=True)
def known_checks(pictures) -> None:
    for prompt in pictures[0]:
        _CHECKS.update({check.text: check for check in checks(parse(prompt.text))})


def test_a_judge_that_looks_has_nothing_against_it(pictures, scripted) -> None:
    prompts, images = pictures
    exact = MicroQuestions()(prompts, images)
    found = calibrate(scripted(answers=looks), prompts, images, seed=0, exact=exact)
    assert found.warning is None
    assert found.num_missing == 0
    assert found.yes_own > 3 * found.yes_wrong
    assert found.yes_blank < 0.05
    assert found.yes_shuffled < 0.05
    assert found.prefers_own >= 0.7
    assert found.ranks_exact == 1
    assert found.answers_exact == 1
    assert found.as_json()["warning"] is None


def test_one_that_says_yes_to_everything_is_found_out(pictures, scripted) -> None:
    prompts, images = pictures
    exact = MicroQuestions()(prompts, images)
    found = calibrate(scripted(answers=lambda image, question: (0.9, 0.05)), prompts, images, seed=0, exact=exact)
    assert found.yes_own == found.yes_blank == found.yes_shuffled == found.yes_wrong == 1
    assert found.prefers_own == 0.5
    assert found.ranks_exact == 0.5
    assert found.answers_exact == 0.5
    assert "says yes whatever it sees: to 100% of questions about a blank picture" in found.warning
    assert "chance is 50%" in found.warning
    assert "no better than chance at the pictures that the exact judge passes" in found.warning


def test_one_that_guesses_is_found_out(pictures, scripted) -> None:
    prompts, images = pictures
    rng = random.Random(1)

    def guess(image: Image.Image, question: str) -> tuple[float, float]:
        yes = rng.random()
        return yes, 1 - yes

    found = calibrate(scripted(answers=guess), prompts, images, seed=0, exact=MicroQuestions()(prompts, images))
    assert "cannot tell a prompt's own questions from another's" in found.warning
    assert "exact judge" in found.warning


def test_one_that_says_no_is_found_out(pictures, scripted) -> None:
    prompts, images = pictures
    found = calibrate(scripted(answers=lambda image, question: (0.0, 0.9)), prompts, images, seed=0)
    assert "says no to nearly everything" in found.warning
    assert found.ranks_exact is None


def test_broken_answers_are_missing_not_zero(pictures, scripted) -> None:
    prompts, images = pictures
    nan = float("nan")
    found = calibrate(scripted(answers=lambda image, question: (nan, nan)), prompts, images, seed=0)
    assert found.num_missing == found.num_pictures == 40
    assert found.yes_own is None
    assert found.warning == "The self-judge gave no answer that can be read."


def test_the_batch_size_changes_nothing(pictures, scripted) -> None:
    prompts, images = pictures
    model = scripted(answers=looks)
    first, second = (calibrate(model, prompts[:9], images[:9], seed=0, batch_size=size) for size in (1, 7))
    assert first == second


def test_an_exact_judge_that_passes_everything_ranks_nothing(pictures, scripted) -> None:
    prompts, images = pictures
    found = calibrate(scripted(answers=looks), prompts, images, seed=0, exact=[Score(1.0)] * 39 + [Score(None, "x")])
    assert found.ranks_exact is None
    assert found.answers_exact is None


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [([], "two different prompts"), ([Prompt("a", "x")] * 3, "two different prompts")]
    + [([Prompt("a", "x"), Prompt("b", "y")], "the prompt 'x' has none")],
)
def test_what_it_needs(prompts: list[Prompt], sentence: str, scripted) -> None:
    with pytest.raises(ValueError, match=sentence):
        calibrate(scripted(answers=looks), prompts, [Image.new("RGB", (8, 8))] * len(prompts), seed=0)
