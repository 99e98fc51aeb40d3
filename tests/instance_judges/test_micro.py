"""The exact instance judge: colour, shape and size by the prompt, then number; what is alike is a tie."""

import pytest
from PIL import Image

from selfportrait.detectors.micro import Micro as Detector
from selfportrait.instance_judges.base import Comparison, Seen
from selfportrait.instance_judges.micro import Micro
from selfportrait.micro.world import Item, Scene, render


def picture(*items: str) -> Image.Image:
    """Shapes in a row, such as "small red circle"."""
    words = [item.split() for item in items]
    return render(Scene(tuple(Item(c, s, size, 8 + 16 * i, 24) for i, (size, c, s) in enumerate(words))))


def verdict(prompt: str, name: str, a: Image.Image, b: Image.Image) -> tuple[str | None, str | None]:
    boxes = [found[0].box for found in Detector()([a, b], [[name], [name]])]
    (one,) = Micro()([Comparison(prompt, name, Seen(a, boxes[0]), Seen(b, boxes[1]))])
    (other,) = Micro()([Comparison(prompt, name, Seen(b, boxes[1]), Seen(a, boxes[0]))])
    assert other.better == {"A": "B", "B": "A", None: None}[one.better]  # the order tells nothing
    return one.better, one.reason


@pytest.mark.parametrize(
    ("prompt", "name", "a", "b", "better"),
    [
        ("a red circle", "circle", ["medium red circle"], ["medium green circle"], "A"),
        ("a red circle", "red shape", ["medium red star"], ["medium red circle"], "B"),
        ("a small red circle", "circle", ["small red circle"], ["large red circle"], "A"),
        ("a small red circle", "circle", ["large red circle"], ["small green circle"], None),  # one mistake each
        ("a red circle", "circle", ["small red circle"], ["large red circle"], None),  # the size is left open
        ("two red circles", "red circle", ["medium red circle"] * 2, ["medium red circle"] * 3, "A"),
        ("two red circles", "red circle", ["medium red circle"], ["medium red circle"] * 3, None),  # one off each
        ("three red circles", "red circle", ["medium red circle"], ["medium red circle"] * 2, "B"),
        ("a red circle", "red circle", ["medium red circle"] * 2, ["medium red circle"], "B"),
    ],
)
def test_the_nearer_to_the_prompt_is_better(prompt, name, a, b, better) -> None:
    assert verdict(prompt, name, picture(*a), picture(*b)) == (better, None if better else "tie")


def test_what_cannot_be_compared_is_missing() -> None:
    one = picture("medium red circle")
    box = Detector()([one], [["circle"]])[0][0].box
    seen, empty = Seen(one, box), Seen(one, (40, 40, 50, 50))
    verdicts = Micro()(
        [
            Comparison("a dog", "circle", seen, seen),
            Comparison("a red circle", "star", seen, seen),
            Comparison("a red circle and a blue circle", "circle", seen, seen),
            Comparison("a red circle", "circle", seen, empty),
        ]
    )
    assert [(verdict.better, verdict.reason) for verdict in verdicts] == [
        (None, "the prompt is not of the micro language"),
        (None, "the name stands for no phrase of the prompt"),
        (None, "the name stands for no phrase of the prompt"),
        (None, "there is no shape in a box"),
    ]


def test_a_box_of_an_enlarged_picture_is_found_again() -> None:
    a, b = (
        picture(text).resize((256, 256), Image.Resampling.NEAREST)
        for text in ("medium red circle", "medium blue circle")
    )
    assert verdict("a red circle", "circle", a, b) == ("A", None)
