"""What the exact planner names, from scenes whose shapes are known."""

import pytest

from selfportrait.micro.world import Item, Scene, render
from selfportrait.planners.base import PicturePair
from selfportrait.planners.micro import Micro


def picture(*items: tuple[str, str], size: str = "medium"):
    return render(Scene(tuple(Item(c, s, size, 8 + 16 * i, 24) for i, (c, s) in enumerate(items))))


RED_CIRCLE, GREEN_CIRCLE, RED_STAR = ("red", "circle"), ("green", "circle"), ("red", "star")
BLUE_SQUARE, BLUE_CIRCLE = ("blue", "square"), ("blue", "circle")


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "names"),
    [
        ("a red circle", [RED_CIRCLE], [RED_CIRCLE], ("red circle",)),
        ("a red circle", [RED_CIRCLE], [GREEN_CIRCLE], ("circle",)),
        ("a red circle", [RED_STAR], [RED_CIRCLE], ("red shape",)),
        ("a red circle", [RED_CIRCLE], [BLUE_SQUARE], ()),
        ("a red circle and a blue square", [RED_CIRCLE, BLUE_SQUARE], [BLUE_SQUARE, GREEN_CIRCLE],
         ("circle", "blue square")),
        # "circle" and "blue shape" could each stand for two phrases
        ("a red circle and a blue circle", [RED_CIRCLE, BLUE_CIRCLE], [RED_CIRCLE, GREEN_CIRCLE], ("red circle",)),
        ("two red circles", [RED_CIRCLE, RED_CIRCLE], [RED_CIRCLE], ("red circle",)),
        ('the word "cat"', [RED_CIRCLE], [RED_CIRCLE], ()),
    ],
)  # fmt: skip
def test_it_names_what_both_show_as_exactly_as_both_do(prompt, chosen, rejected, names) -> None:
    (plan,) = Micro()([PicturePair(prompt, picture(*chosen), picture(*rejected))])
    assert plan == (names, None, "")


def test_a_size_is_named_where_both_have_it() -> None:
    small, large = picture(RED_CIRCLE, size="small"), picture(RED_CIRCLE, size="large")
    plans = Micro()([PicturePair("a small red circle", small, small), PicturePair("a small red circle", small, large)])
    assert [plan.names for plan in plans] == [("small red circle",), ("circle",)]


def test_a_prompt_of_another_language_is_a_failure() -> None:
    (plan,) = Micro()([PicturePair("a dog", picture(RED_CIRCLE), picture(RED_CIRCLE))])
    assert plan == ((), "the prompt is not of the micro language", "")
