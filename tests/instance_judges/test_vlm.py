"""The judge's replies: two sentences are read, everything else is unparsable; and what the request shows."""

import pytest
from PIL import Image

from selfportrait.asking.pictures import Reply
from selfportrait.instance_judges.base import Comparison, Seen, Verdict
from selfportrait.instance_judges.vlm import Vlm

RED, BLUE = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (30, 30), "blue")
PAIR = Comparison("A cat.\nAnd a dog.", "cat", Seen(RED, (3, 4, 20, 10)), Seen(BLUE, (0, 0, 5, 5)))


def verdict(text: str | None, reason: str | None = None) -> Verdict:
    (found,) = Vlm(lambda requests: [Reply(text, reason)])([PAIR])
    return found


@pytest.mark.parametrize(
    ("text", "better"),
    [("Image A is better", "A"), ("Both are fine.\nimage b is better.", "B"), ("'Image A is better'", "A")],
)
def test_the_sentence_that_was_asked_for_is_a_verdict(text: str, better: str) -> None:
    assert verdict(text) == Verdict(better, None, text)


@pytest.mark.parametrize("text", ["", "A", "Image A", "Image A is better, or: Image B is better.", "Neither is better"])
def test_anything_else_is_unparsable(text: str) -> None:
    assert verdict(text) == Verdict(None, "unparsable", text)


def test_a_reply_that_is_missing_keeps_its_reason() -> None:
    assert verdict(None, "no reply: status 500") == Verdict(None, "no reply: status 500")


def test_the_request_shows_both_crops_by_letter() -> None:
    asked = []
    Vlm(lambda requests: asked.extend(requests) or [Reply("")], side=24)([PAIR])
    ((letter_a, a, letter_b, b, text),) = asked
    assert (letter_a, letter_b) == ("Image A:", "Image B:")
    assert (a.size, b.size) == ((24, 24), (24, 24))
    assert (a.getpixel((5, 5)), b.getpixel((5, 5))) == ((255, 0, 0), (0, 0, 255))
    assert text.startswith("The prompt was: A cat. And a dog. Both crops show the same kind of thing: cat. Which one")
    assert text.endswith("Output exactly: Image A is better, or: Image B is better.")
