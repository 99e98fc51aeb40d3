"""The things that a caption names; the phrases themselves are tested with the questions that are made of them."""

import pytest

from selfportrait.asking.phrases import objects


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two red circles left of a blue ring on a black background", ["circles", "ring"]),
        ("a small red star at the top left", ["star"]),
        ("a circle, a square and a circle", ["circle", "square"]),
        ("A copper bell hangs left of a round window.", ["bell", "window"]),
        ("children playing in front of a brick building", ["children", "building"]),
        ("on the left", []),
        ("a pink scissors and a red skis", ["scissors", "skis"]),
        ("a red dining table and two yellow parking meters", ["table", "meters"]),
        ("a man washing a car and a woman stands", ["man", "car", "woman"]),
    ],
)
def test_objects_are_the_heads_of_noun_phrases(text: str, words: list[str]) -> None:
    assert objects(text) == words
