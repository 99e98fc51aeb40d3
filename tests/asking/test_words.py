"""Word lists and the English that templates need."""

import pytest

from selfportrait.asking.words import conversation, counted, is_plural, read, with_article


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat, dog, guinea pig", ["cat", "dog", "guinea pig"]),
        ("1. Cat\n2) a dog\n- the owl\n* an ox.", ["cat", "dog", "owl", "ox"]),
        ("cat; dog, CAT", ["cat", "dog"]),
        ("Here are ten common animals: cat, dog", ["cat", "dog"]),
        ("big brown bear, x-ray, l33t, , dog", ["dog"]),
        ("", []),
    ],
)
def test_a_list_is_read(text: str, words: list[str]) -> None:
    assert read(text) == words


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("cat", "cats"), ("bus", "buses"), ("box", "boxes"), ("watch", "watches"), ("brush", "brushes"),
        ("berry", "berries"), ("toy", "toys"), ("knife", "knives"), ("leaf", "leaves"), ("giraffe", "giraffes"),
        ("piano", "pianos"), ("potato", "potatoes"), ("mouse", "mice"), ("sheep", "sheep"),
        ("guinea pig", "guinea pigs"),
        ("wooden shelf", "wooden shelves"),
    ],
)  # fmt: skip
def test_numbers_agree(noun: str, plural: str) -> None:
    assert counted(1, noun) == f"one {noun}"
    assert counted(4, noun) == f"four {plural}"


def test_articles() -> None:
    words = ["owl", "red owl", "orange cat", "unicorn", "hourglass", "ukulele", "umbrella", "one eye", "eucalyptus"]
    assert [with_article(word).split()[0] for word in words] == ["an", "a", "an", "a", "an", "a", "an", "a", "a"]


def test_what_looks_like_several() -> None:
    assert [is_plural(word) for word in ("cats", "mice", "glass", "cactus", "cat", "sheep")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_a_list_is_asked_for_by_kind_and_length() -> None:
    assert conversation("animals", 20, "full")[-1] == ("user", "List 20 animals.")
    assert len(conversation("animals", 20, "compact")) == 1
