"""The exact detector: by name, one box a name, in the pixels of the picture it was given."""

from PIL import Image

from selfportrait.boxes import problem
from selfportrait.detectors.micro import Micro
from selfportrait.micro.detect import detect
from selfportrait.micro.world import Item, Scene, render

ITEMS = (
    Item("red", "circle", "large", 24, 24),
    Item("red", "circle", "small", 40, 40),
    Item("blue", "star", "medium", 8, 56),
)
PICTURE = render(Scene(ITEMS))


def test_it_finds_all_of_each_name_the_most_confident_first() -> None:
    (found,) = Micro()([PICTURE], [["red circle", "star", "green ring", "dog", "small shape"]])
    assert [one.name for one in found] == ["red circle", "red circle", "star", "small shape"]
    circles = [one for one in detect(PICTURE) if one.name == "red circle"]
    assert [one.score for one in found[:2]] == sorted((one.score for one in circles), reverse=True)
    assert {one.box for one in found[:2]} == {one.box for one in circles}
    assert found[3].box == next(one.box for one in circles if one.attributes["size"] == "small")


def test_boxes_are_in_the_pixels_of_an_enlarged_picture() -> None:
    small, large = Micro()([PICTURE, PICTURE.resize((256, 128), Image.Resampling.NEAREST)], [["star"], ["star"]])
    x0, y0, x1, y1 = small[0].box
    assert large[0].box == (4 * x0, 2 * y0, 4 * x1, 2 * y1)


def test_a_blank_picture_and_no_name_find_nothing() -> None:
    assert Micro()([Image.new("RGB", (64, 64)), PICTURE], [["circle"], []]) == [[], []]


def test_every_box_fits() -> None:
    for box in (one.box for one in detect(PICTURE)):
        assert problem(box, PICTURE.size) is None
