"""Names of the micro world: what they say, and which phrase they stand for."""

import pytest

from selfportrait.micro.instances import kind_of, names_of, phrase_of
from selfportrait.micro.language import parse


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("small red circle", {"size": "small", "colour": "red", "shape": "circle"}),
        ("Circle", {"shape": "circle"}),
        ("red shape", {"colour": "red"}),
        ("medium shape", {"size": "medium"}),
        ("shape", None),
        ("red", None),
        ("red green circle", None),
        ("circle red", None),
        ("a dog", None),
        ("", None),
    ],
)
def test_a_name_says_a_kind_or_nothing(name, kind) -> None:
    assert kind_of(name) == kind


def test_names_of_a_phrase_go_from_exact_to_vague() -> None:
    (phrase,) = parse("a small red circle").phrases
    assert names_of(phrase) == ["small red circle", "circle", "red shape", "small shape"]
    (phrase,) = parse("three circles").phrases
    assert names_of(phrase) == ["circle"]


def test_a_name_stands_for_one_phrase_or_none() -> None:
    phrases = parse("a red circle and a small red square").phrases
    assert [phrase_of(name, phrases) for name in ("circle", "small shape", "red square")] == [
        phrases[0], phrases[1], phrases[1],
    ]  # fmt: skip
    assert [phrase_of(name, phrases) for name in ("red shape", "star", "blue circle", "dog")] == [None] * 4
