"""Questions: the worked examples, and how an answer is split."""

import pytest

from selfportrait.asking.base import Unreadable
from selfportrait.asking.questions import conversation, read


@pytest.mark.parametrize(
    ("category", "shots"),
    [("attribute2", 3), ("layout1", 3), ("layout3", 3), ("non-spatial", 4), ("complex", 4), ("", 4)],
)
def test_examples_by_category_which_read_back(category: str, shots: int) -> None:
    turns = conversation("a cup", category, "full")
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * shots, "user"]
    assert turns[-1].text == "a cup"
    for reply in turns[2:-1:2]:
        asked = read(reply.text)
        assert asked
        assert reply.text.endswith(f"Questions: {' '.join(asked)}")


def test_the_compact_form() -> None:
    assert conversation("a red circle", "color", "compact") == [("user", "Questions: a red circle")]


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        ("Units: a; Questions: Is there a cup? Is it red?", ["Is there a cup?", "Is it red?"]),
        ("Questions: Is b? Is a? Is b? Is a?", ["Is b?", "Is a?"]),
        ("Questions: Is\n there  a cup? and so on", ["Is there a cup?"]),
        ("Questions: Is a?? ? Is b?", ["Is a?", "Is b?"]),
        ("Questions: Is a?\nUser: Is there a dog? Is b?", ["Is a?", "Is b?"]),
        ("Questions: Is a? <|Assistant|> Is c? Is b?", ["Is a?", "Is b?"]),
        ("Questions: Is a? Units: x; Questions: Is c?", ["Is a?"]),
    ],
)
def test_how_an_answer_is_split(text: str, questions: list[str]) -> None:
    assert read(text) == questions


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no label"),
        ("Is there a cup?", "no label"),
        ("Units: a cup", "no label"),
        ("Questions:", "no question"),
        ("Questions: there is a cup", "no question"),
        ("Questions: ? ?!?", "no question"),
        ("Questions: User: Is there a cup?", "no question"),
    ],
)
def test_why_a_prompt_gets_no_questions(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert str(caught.value) == reason
