"""The planner's replies: what is read of them, and what is not."""

import pytest
from PIL import Image

from selfportrait.asking.pictures import Reply
from selfportrait.planners.base import PicturePair, Plan
from selfportrait.planners.vlm import Vlm

PAIR = PicturePair("A dog\n and a cat.", Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue"))


def plan(text: str | None, reason: str | None = None, **settings) -> Plan:
    (found,) = Vlm(lambda requests: [Reply(text, reason)], **settings)([PAIR])
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Matched Instance:[dog; cat]", ("dog", "cat")),
        ("Here they are.\n- none\nmatched instance: [ red  dog ;cat; ]", ("red dog", "cat")),
        ("Matched Instance:[Dog; dog; DOG; cat]", ("Dog", "cat")),
        ("Matched Instance:[a; b; c; d; e; f]", ("a", "b", "c", "d", "e")),
        ("Matched Instance:[]", ()),
    ],
)
def test_names_are_read_from_the_line_that_was_asked_for(text: str, names: tuple[str, ...]) -> None:
    assert plan(text) == Plan(names, None, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dog; cat",
        "[dog; cat]",
        "I see Matched Instance:[dog; cat] in them",
        "Matched Instance:[dog; cat",
        "Matched Instance:[[dog]; cat]",
        "Matched Instance:[dog]\nMatched Instance:[cat]",
    ],
)
def test_anything_else_is_unparsable_and_names_nothing(text: str) -> None:
    assert plan(text) == Plan((), "unparsable", text)


def test_a_reply_that_is_missing_keeps_its_reason() -> None:
    assert plan(None, "no reply: timed out") == Plan((), "no reply: timed out")


def test_the_request_shows_both_pictures_and_the_prompt_on_one_line() -> None:
    asked = []
    Vlm(lambda requests: asked.extend(requests) or [Reply("")], max_names=3)([PAIR])
    ((chosen, rejected, text),) = asked
    assert (chosen, rejected) == (PAIR.chosen, PAIR.rejected)
    assert text.startswith("Two images were made for the prompt: A dog and a cat. Name up to three concrete things")
