"""The line of a reply that counts, by hand, and replies that do not match the requests."""

import re

import pytest

from selfportrait.asking.pictures import Reply, ask, the_line

BETTER = re.compile(r"Image ([AB]) is better", re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Image A is better", "A"),
        ('  "Image B is better."  ', "B"),
        ("**Image B is better**", "B"),
        ("The legs of the cat are right in one of them.\n\nimage a is better", "a"),
        ("Image A is better.\nImage A is better", "A"),
        ("Image A is better\nImage B is better", None),
        ("Image C is better", None),
        ("I cannot say that Image A is better", None),
        ("Image A is better than image B", None),
        ("A", None),
        ("", None),
    ],
)
def test_only_the_line_that_was_asked_for_is_read(text: str, letter: str | None) -> None:
    match = the_line(BETTER, text)
    assert (match and match[1]) == letter


def test_another_number_of_replies_is_refused() -> None:
    with pytest.raises(ValueError, match="gave 1 replies to 2 requests"):
        ask(lambda requests: [Reply("yes")], [["one"], ["two"]])
