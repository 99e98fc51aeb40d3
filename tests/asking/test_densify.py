"""Detailed prompts: the worked examples, and what makes an answer unreadable."""

import pytest

from selfportrait.asking.base import Unreadable
from selfportrait.asking.densify import Shot, answer, conversation, read

GOOD = (
    "1. bindings of First: (a, b)\n2. First, detailed: A long one.\n"
    "3. bindings of Second: (c, d)\n4. Second, detailed: B."
)


@pytest.mark.parametrize(
    "category", ["attribute1_color", "attribute2", "layout1", "layout3", "non-spatial", "complex", "?"]
)
def test_three_examples_which_read_back(category: str) -> None:
    turns = conversation("a cup", "a hat", category, "full")
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * 3, "user"]
    for reply in turns[2:-1:2]:
        dense = read(reply.text)
        assert f"2. First, detailed: {dense.base}\n3." in reply.text
        assert reply.text.endswith(dense.perturbed)
    assert turns[-1].text.startswith("First: a cup\nSecond: a hat\n")


def test_five_kinds_of_examples() -> None:
    categories = ["attribute2", "layout1", "layout2", "non-spatial", "complex"]
    assert len({conversation("a", "b", category, "full")[1].text for category in categories}) == 5


def test_the_compact_form() -> None:
    assert conversation("a", "b", "layout1", "compact") == [("user", "First: a\nSecond: b\nExpand both.")]
    text = answer(Shot("a", "b", "", "", "long a", "long b"), "compact")
    assert text == "2. First, detailed: long a\n4. Second, detailed: long b"
    assert read(text) == ("long a", "long b")


@pytest.mark.parametrize(
    "text", [GOOD, f"Sure!\n{GOOD}\n", GOOD.replace(": A", ":   A"), GOOD.replace("1. bindings of First: (a, b)\n", "")]
)
def test_lines_two_and_four_are_read(text: str) -> None:
    assert read(text) == ("A long one.", "B.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no first sentence"),
        (GOOD.replace("2. First, detailed:", "2. First:"), "no first sentence"),
        (GOOD.replace("\n2.", " 2."), "no first sentence"),
        (GOOD.replace("4. Second, detailed:", "Second, detailed:"), "no second sentence"),
        (GOOD.partition("\n4")[0], "no second sentence"),
        (GOOD.replace("A long one.", ""), "empty sentence"),
        (GOOD.replace("B.", "  "), "empty sentence"),
        (f"{GOOD}\n{GOOD}", "leaked label"),
        (f"{GOOD}\n2. First, detailed: again", "leaked label"),
        (GOOD.replace("A long one.", "A. 1. bindings of First: (a, b)"), "leaked label"),
        (GOOD.replace("B.", "B. Second, detailed: B"), "leaked label"),
        (GOOD.replace("B.", "B. First: a cat"), "leaked label"),
        (GOOD.replace("B.", "a LONG one."), "both the same"),
        (GOOD.replace("B.", "B. <|User|>"), "chat marker"),
    ],
)
def test_why_a_slot_is_dropped(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert str(caught.value) == reason
