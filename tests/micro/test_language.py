"""What is said can be read back, and becomes the right questions."""

import random

import pytest

from selfportrait.micro.language import Claim, Phrase, checks, parse, questions, say
from selfportrait.micro.scenes import CATEGORIES, claim
from selfportrait.types import Question

GOLDEN = [
    (Claim((Phrase(1, "circle", "red"),)), "a red circle"),
    (Claim((Phrase(1, "star", "orange"),)), "an orange star"),
    (Claim((Phrase(1, "ring"), Phrase(1, "cross"))), "a ring and a cross"),
    (Claim((Phrase(1, "cross", "blue", None, True),)), "one blue cross"),
    (Claim((Phrase(3, "cross", "blue", None, True),)), "three blue crosses"),
    (
        Claim((Phrase(1, "ring", "red"), Phrase(1, "star", "blue"), Phrase(1, "square", "green"))),
        "a red ring, a blue star and a green square",
    ),
    (
        Claim((Phrase(2, "ring", "red", None, True), Phrase(1, "star", "blue")), relation="left of"),
        "two red rings left of a blue star",
    ),
    (Claim((Phrase(1, "star", "red"),), place="center"), "a red star in the center"),
    (
        Claim((Phrase(1, "star", "red"),), place="top left", background="white"),
        "a red star at the top left on a white background",
    ),
    (
        Claim((Phrase(1, "star", "red", "small"), Phrase(1, "ring", "blue", "large")), background="gray"),
        "a small red star and a large blue ring on a gray background",
    ),
    (Claim(word="cat"), 'the word "cat"'),
]


@pytest.mark.parametrize(("spoken", "text"), GOLDEN)
def test_a_claim_in_words(spoken: Claim, text: str) -> None:
    assert say(spoken) == text
    assert parse(text) == spoken


@pytest.mark.parametrize("category", CATEGORIES)
def test_thousands_of_claims_are_read_back(category: str) -> None:
    rng = random.Random(category)
    for _ in range(3000):
        spoken = claim(category, rng)
        assert parse(say(spoken)) == spoken


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  A  Red Circle. ", "a red circle"),
        ("two red circle", "two red circles"),
        ("The word “Cat”", 'the word "cat"'),
        ("a red star at the center", "a red star in the center"),
    ],
)
def test_small_differences_of_writing_are_forgiven(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a photo of a dog",
        "a pink circle",
        "seven red circles",
        "red circle",
        "a red small circle",
        "a red circle above a blue ring above a star",
        "a red circle on a pink background",
        "a red circle near a star",
        'the word "cat" and the word "dog"',
        'the word "42"',
    ],
)
def test_a_prompt_outside_the_language_is_refused_with_what_it_does_not_know(text: str) -> None:
    with pytest.raises(ValueError, match="the micro world does not know") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a red circle", ["Is there a red circle?", "Is there exactly one shape?"]),
        ("a ring and a cross", ["Is there a ring?", "Is there a cross?", "Are there exactly two shapes?"]),
        ("one blue cross", ["Is there exactly one blue cross?"]),
        (
            "three crosses and one red ring",
            ["Are there exactly three crosses?", "Is there exactly one red ring?"],
        ),
        (
            "two red rings left of a blue star",
            ["Are there exactly two red rings?", "Is there a blue star?", "Are the red rings left of the blue star?"],
        ),
        (
            "an orange star in the center on a white background",
            [
                "Is there an orange star?",
                "Is there exactly one shape?",
                "Is the orange star in the center?",
                "Is the background white?",
            ],
        ),
        ('the word "cat"', ['Does the picture read "cat"?']),
    ],
)
def test_the_questions_of_a_prompt(text: str, asked: list[str]) -> None:
    assert questions(parse(text)) == tuple(Question(question, True) for question in asked)
    assert [check.text for check in checks(parse(text))] == asked
