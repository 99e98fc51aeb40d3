"""Perturbing: the table of edits, the worked examples, and how an answer is read."""

import pytest

from selfportrait.asking.base import Unreadable
from selfportrait.asking.perturb import DIRECTIONS, Shot, answer, conversation, edits, read
from selfportrait.types import Prompt

REPLACE_ONLY = ("replace", "replace", "replace")
ALL = ("replace", "swap", "drop")


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("attribute1_color", REPLACE_ONLY),
        ("attribute1_shape", REPLACE_ONLY),
        ("attribute1_texture", REPLACE_ONLY),
        ("layout2", REPLACE_ONLY),
        ("non-spatial", ("replace", "drop", "replace")),
        ("attribute2", ALL),
        ("layout1", ALL),
        ("layout3", ALL),
        ("complex", ALL),
    ],
)
def test_the_edits_of_a_category(category: str, expected: tuple[str, ...]) -> None:
    assert edits(Prompt("a", "a cup", category)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red circle", REPLACE_ONLY),
        ("three crosses", REPLACE_ONLY),
        ("a red circle on a white background", REPLACE_ONLY),
        ("a red circle left of a blue star", ALL),
        ("Two red circles and one star", ALL),
        ('the word "cat"', REPLACE_ONLY),
    ],
)
def test_another_category_goes_by_the_number_of_objects(text: str, expected: tuple[str, ...]) -> None:
    assert edits(Prompt("a", text, "color")) == expected


@pytest.mark.parametrize("category", ["attribute2", "layout1", "layout3", "complex", "non-spatial", "anything"])
@pytest.mark.parametrize("edit", ALL)
def test_three_examples_which_read_back(category: str, edit: str) -> None:
    turns = conversation(Prompt("a", "a cup on a table", category), edit, "full", "behind")
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * 3, "user"]
    shown = [turn.text.partition("Edit: <")[2].partition(">")[0] for turn in turns if turn.role == "user"]
    asked = [edit if edit != "swap" else "replace"] * 3 if category == "non-spatial" else list(ALL)
    assert shown == [*asked, edit]
    for request, reply in zip(turns[1:-1:2], turns[2:-1:2], strict=True):
        base = request.text.partition("\n")[0]
        assert read(reply.text, base) != base
        assert [line[:2] for line in reply.text.splitlines()] == ["1.", "2.", "3.", "4."]
        assert "{" not in reply.text


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_replaced_relation_is_shown_one_direction_and_told_not_to_copy_it(direction: str) -> None:
    prompt = Prompt("a", "a cat on top of a piano", "layout1")
    turns = conversation(prompt, "replace", "full", direction)
    assert turns[2].text.endswith(f"Result: a cup {direction} a book")
    assert turns[-1].text.endswith(f'Do not use the words "{direction}".')
    assert "Do not use" not in conversation(prompt, "swap", "full", direction)[-1].text
    assert "Do not use" not in conversation(Prompt("a", "two cats", "layout2"), "replace", "full", direction)[-1].text


def test_the_compact_form_has_neither_examples_nor_steps() -> None:
    prompt = Prompt("a", "a red circle and a blue star", "attribute2")
    assert conversation(prompt, "swap", "compact") == [("user", "a red circle and a blue star\nEdit: <swap>")]
    shot = Shot("swap", prompt.text, "", "", "", "a blue circle and a red star")
    assert answer(shot, "compact") == "Result: a blue circle and a red star"


BASE = "a teal kettle and an amber lantern"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Result: an amber kettle and a teal lantern", "an amber kettle and a teal lantern"),
        ("4. Result: a red kettle\n\nThat is my answer.", "a red kettle"),
        ("Result: wrong\nno, Result:  a  red kettle ", "a red kettle"),
        ('Result: "a red kettle"', "a red kettle"),
        ("Result:\na red kettle", "a red kettle"),
    ],
)
def test_the_text_after_the_last_marker_is_the_result(text: str, result: str) -> None:
    assert read(text, BASE) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no result"),
        ("an amber kettle and a teal lantern", "no result"),
        ("Result:", "empty result"),
        ("Result: a cat\nResult:  \n ", "empty result"),
        ('Result: ""', "empty result"),
        ("Result: A teal kettle and an  amber lantern.", "unchanged"),
        ("Result: an amber lantern and a teal kettle", "re-ordered"),
        ("Result: an amber lantern, a teal kettle", "re-ordered"),
        ("Result: a cat\nUser: a dog", "chat marker"),
        ("Result: <|Assistant|>", "chat marker"),
    ],
)
def test_why_a_result_is_dropped(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text, BASE)
    assert str(caught.value) == reason


def test_swapped_objects_are_no_re_ordering() -> None:
    assert read("Result: a dog left of a cat", "a cat left of a dog") == "a dog left of a cat"
