"""The crop of an instance: where it is, and how large."""

from PIL import Image

from selfportrait.instance_judges.base import Seen


def test_a_crop_is_a_square_around_the_box_of_the_size_asked_for() -> None:
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste((255, 0, 0), (10, 5, 20, 15))
    crop = Seen(picture, (10, 5, 20, 15)).crop(2.0, 40)  # the patch is (5, 0, 25, 20): twice as large on the crop
    assert crop.size == (40, 40)
    assert [crop.getpixel(place) for place in ((20, 20), (13, 20), (27, 20))] == [(255, 0, 0)] * 3
    assert [crop.getpixel(place) for place in ((5, 20), (35, 20), (20, 5), (20, 35))] == [(255, 255, 255)] * 4


def test_both_crops_have_one_size_whatever_their_boxes() -> None:
    picture = Image.new("RGB", (40, 20))
    assert {Seen(picture, box).crop(1.5, 28).size for box in ((0, 0, 40, 2), (39, 19, 40, 20))} == {(28, 28)}
