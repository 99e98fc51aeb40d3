"""Noun phrases and whole prompts as questions."""

import pytest

from selfportrait.questions.phrases import Phrases
from selfportrait.questions.whole_prompt import WholePrompt
from selfportrait.types import Prompt, Question


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a teal kettle and an amber lantern", ["Is there a teal kettle?", "Is there an amber lantern?"]),
        ("A dog chases a ball.", ["Is there a dog?", "Is there a ball?"]),
        ("a man wearing a straw hat", ["Is there a man?", "Is there a straw hat?"]),
        ("a gardener is holding a watering can", ["Is there a gardener?", "Is there a watering can?"]),
        ("a bicycle to the left of a fountain", ["Is there a bicycle?", "Is there a fountain?"]),
        ("a cat on top of a piano", ["Is there a cat?", "Is there a piano?"]),
        ("two oranges and three spoons", ["Are there two oranges?", "Are there three spoons?"]),
        ("one blue cross", ["Is there one blue cross?"]),
        (
            "the small, striped cat on the round, wooden table",
            ["Is there a small striped cat?", "Is there a round wooden table?"],
        ),
        (
            "a tall lighthouse stands behind two white boats",
            ["Is there a tall lighthouse?", "Are there two white boats?"],
        ),
        ("a large blue ring", ["Is there a large blue ring?"]),
        ("children playing", ["Are there children playing?"]),
        ("the red cars", ["Are there red cars?"]),
        ("a red star at the top left", ["Is there a red star?"]),
        ("a cup, a cup and a cup", ["Is there a cup?"]),
    ],
)
def test_the_phrases_of_a_caption(text: str, asked: list[str]) -> None:
    (prompt,) = Phrases()([Prompt("a", text, "x")]).prompts
    assert prompt == Prompt("a", text, "x", tuple(Question(question) for question in asked))


@pytest.mark.parametrize("text", ["", "the left side", "of and with", "!?", "the"])
def test_a_prompt_that_names_nothing_is_counted(text: str) -> None:
    written = Phrases()([Prompt("a", text), Prompt("b", "a cup")])
    assert [prompt.id for prompt in written.prompts] == ["b"]
    assert written.dropped == {"no noun phrase": 1}


def test_the_whole_prompt_is_one_question() -> None:
    written = WholePrompt()([Prompt("a", "a red cup.")])
    assert written.prompts == [Prompt("a", "a red cup.", "", (Question('Does this picture show "a red cup"?'),))]
    assert written.dropped == {}
