"""The exact judges of the micro world, on pictures whose content is known."""

import random

import pytest
from PIL import Image

from selfportrait.judges.micro_count import MicroCount
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.micro.detect import verify
from selfportrait.micro.language import checks, parse, say
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out
from selfportrait.micro.world import Item, Scene, render
from selfportrait.types import Detection, Prompt, Score

JUDGES = [MicroCount, MicroQuestions]


def prompt(text: str) -> Prompt:
    return Prompt("id", text)


def picture(*items: tuple[str, str] | Item, background: str = "black") -> Image.Image:
    """Shapes as (colour, shape), in the cells of the grid in order, or where they are put."""
    placed = [
        item if isinstance(item, Item) else Item(*item, "medium", 8 + 16 * (index % 4), 8 + 16 * (index // 4))
        for index, item in enumerate(items)
    ]
    return render(Scene(tuple(placed), background))


def put(colour: str, shape: str, x: int, y: int, size: str = "medium") -> Item:
    return Item(colour, shape, size, x, y)


def score(judge: type, text: str, image: Image.Image) -> Score:
    (found,) = judge()([prompt(text)], [image])
    return found


def answers(text: str, image: Image.Image) -> dict[str, bool]:
    found = score(MicroQuestions, text, image)
    return {question["text"]: question["yes"] for question in found.details["questions"]}


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_rendered_truth_is_exact(category: str) -> None:
    rng = random.Random(category)
    claims = [claim(category, rng) for _ in range(400)]
    images = [render(lay_out(one, rng)) for one in claims]
    for judge in JUDGES:
        scores = judge()([prompt(say(one)) for one in claims], images)
        assert sum(one.details["exact"] for one in scores) >= 0.995 * len(claims)
        assert sum(one.value == 1.0 for one in scores) >= 0.995 * len(claims)


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_the_picture_of_another_prompt_is_seldom_exact(category: str) -> None:
    rng = random.Random(category)
    claims = [claim(category, rng) for _ in range(100)]
    images = [render(lay_out(one, rng)) for one in claims]
    scores = MicroQuestions()([prompt(say(one)) for one in claims], [*images[1:], images[0]])
    assert sum(one.details["exact"] for one in scores) <= 5
    assert all(0 <= one.value <= 1 for one in scores)


# The counting reward of the golden numbers, with red circles for dogs, blue squares for cats, green rings for tables


@pytest.mark.parametrize(
    ("circles", "squares", "rings", "value", "is_exact"),
    [
        (2, 1, 1, 1.0, True),
        (1, 1, 0, 0.5, False),  # errors 1/2, 0, 1
        (7, 1, 1, 2 / 3, False),  # errors 5/2, cut at 1, then 0 and 0
        (0, 0, 0, 0.0, False),
    ],
)
def test_counting_reward_golden(circles: int, squares: int, rings: int, value: float, is_exact: bool) -> None:
    image = picture(*[("red", "circle")] * circles, *[("blue", "square")] * squares, *[("green", "ring")] * rings)
    found = score(MicroCount, "two red circles, one blue square and one green ring", image)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.details["exact"] == is_exact


def test_counts_are_by_colour_only_where_the_prompt_names_it() -> None:
    image = picture(("red", "circle"), ("blue", "circle"), ("red", "star"))
    assert score(MicroCount, "two circles", image).value == 1.0
    assert score(MicroCount, "two red circles", image).value == 0.5
    assert score(MicroCount, "one red circle and two stars", image).value == pytest.approx((1 + 0.5) / 2)


def test_more_is_as_wrong_as_less() -> None:
    values = [score(MicroCount, "three red circles", picture(*[("red", "circle")] * n)).value for n in range(7)]
    assert values == pytest.approx([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0])


def test_the_details_say_what_was_found() -> None:
    details = score(MicroCount, "one red circle", picture(("red", "circle"))).details
    (found,) = details["detections"]
    assert found["name"] == "red circle"
    assert found["size"] == "medium"
    x0, y0, x1, y1 = found["box"]
    assert (x0, y0, x1, y1) == pytest.approx((2, 2, 14, 14), abs=1)  # centre 8, radius 5.5
    assert details["questions"] == [{"text": "Is there exactly one red circle?", "yes": True}]


# Questions


def test_the_share_of_yes() -> None:
    # a red circle is there, a blue ring is not, and there are not two shapes
    found = score(MicroQuestions, "a red circle and a blue ring", picture(("red", "circle")))
    assert found.value == pytest.approx(1 / 3)
    assert not found.details["exact"]


def test_nothing_else_may_be_there_unless_the_prompt_counts() -> None:
    image = picture(("red", "circle"), ("blue", "star"))
    assert not score(MicroQuestions, "a red circle", image).details["exact"]
    assert score(MicroQuestions, "one red circle", image).details["exact"]


def test_sizes_and_backgrounds() -> None:
    image = picture(put("red", "star", 16, 16, "small"), put("blue", "star", 48, 48, "large"), background="white")
    assert score(MicroQuestions, "a small red star and a large blue star on a white background", image).value == 1
    assert score(MicroQuestions, "a large red star and a small blue star", image).value == pytest.approx(1 / 3)
    assert answers("a red star on a gray background", image)["Is the background gray?"] is False


@pytest.mark.parametrize(
    ("x", "y", "true"),
    [
        (48, 32, {"left of"}),  # the red circle is at (16, 32)
        (25, 32, {"left of"}),  # 9 pixels apart are enough
        (48, 64 - 8, {"left of"}),  # further right than below
        (40, 56, set()),  # exactly diagonal is neither
        (32, 56, {"above"}),
        (16, 52, {"above"}),
        (16, 10, {"below"}),
        (4, 32, {"right of"}),
    ],
)
def test_relations_at_their_limits(x: int, y: int, true: set[str]) -> None:
    image = picture(put("red", "circle", 16, 32, "small"), put("blue", "square", x, y, "small"))
    for relation in ("left of", "right of", "above", "below"):
        found = answers(f"a red circle {relation} a blue square", image)
        assert found[f"Is the red circle {relation} the blue square?"] == (relation in true), relation


@pytest.mark.parametrize(("distance", "is_related"), [(7, False), (8, True)])
def test_a_relation_needs_half_a_cell(distance: int, is_related: bool) -> None:
    (check,) = [check for check in checks(parse("a red circle left of a blue ring")) if check.kind == "relation"]
    kinds = [{"colour": "red", "shape": "circle"}, {"colour": "blue", "shape": "ring"}]
    boxes = [(0, 0, 6, 6), (distance, 0, distance + 6, 6)]
    found = [Detection("", 1.0, box, None, kind) for box, kind in zip(boxes, kinds, strict=True)]
    assert verify(check, found, "black") == is_related
    assert not verify(check, found[:1], "black")


def test_a_relation_of_several_is_that_of_their_middle() -> None:
    two = [put("red", "circle", 8, 8), put("red", "circle", 24, 56)]  # their middle is (16, 32)
    image = picture(*two, put("blue", "ring", 56, 40))
    assert score(MicroQuestions, "two red circles left of a blue ring", image).details["exact"]
    assert not score(MicroQuestions, "two red circles above a blue ring", image).details["exact"]


def test_what_is_not_there_has_no_relation_and_no_place() -> None:
    image = picture(put("red", "circle", 16, 16))
    assert answers("a red circle left of a blue ring", image)["Is the red circle left of the blue ring?"] is False
    assert answers("a blue ring at the top left", image)["Is the blue ring at the top left?"] is False


@pytest.mark.parametrize(
    ("x", "y", "true"),
    [
        (16, 16, {"top left", "center"}),  # 16 from the middle is still in the center
        (8, 8, {"top left"}),
        (56, 8, {"top right"}),
        (8, 56, {"bottom left"}),
        (56, 56, {"bottom right"}),
        (31, 31, {"top left", "center"}),
        (33, 33, {"bottom right", "center"}),
    ],
)
def test_places_at_their_limits(x: int, y: int, true: set[str]) -> None:
    image = picture(put("red", "circle", x, y))
    for place in ("top left", "top right", "bottom left", "bottom right", "center"):
        where = f"{'in' if place == 'center' else 'at'} the {place}"
        assert answers(f"a red circle {where}", image)[f"Is the red circle {where}?"] == (place in true), place


# What cannot be judged


@pytest.mark.parametrize("judge", JUDGES)
def test_a_prompt_outside_the_language_is_missing_with_its_reason(judge: type) -> None:
    image = picture(("red", "circle"))
    scores = judge()([prompt("a photo of a dog"), prompt("one red circle"), prompt("")], [image] * 3)
    assert [one.value for one in scores] == [None, 1.0, None]
    assert "does not know 'a photo of a dog'" in scores[0].reason
    assert scores[1].reason is None


@pytest.mark.parametrize("judge", JUDGES)
def test_a_word_is_missing_and_sent_to_the_ocr_judge(judge: type) -> None:
    found = score(judge, 'the word "cat"', picture())
    assert found.value is None
    assert "'ocr'" in found.reason


@pytest.mark.parametrize("judge", JUDGES)
def test_an_empty_picture_and_a_full_one_are_judged(judge: type) -> None:
    for image in (Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "white"), Image.new("RGB", (1, 1))):
        assert score(judge, "two red circles", image).value == 0


@pytest.mark.parametrize("judge", JUDGES)
def test_other_modes_and_sizes_are_judged_alike(judge: type) -> None:
    image = render(lay_out(parse("two red circles and one blue star"), random.Random(0)))
    for changed in (image.convert("RGBA"), image.resize((256, 256), Image.Resampling.NEAREST)):
        assert score(judge, "two red circles and one blue star", changed).value == 1.0
    assert judge()([], []) == []
