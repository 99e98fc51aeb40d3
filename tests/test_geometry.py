"""Resizing, cropping and mirroring, of pictures and of boxes: numbers by hand, and pixels against boxes."""

import itertools

import numpy as np
import pytest
from PIL import Image

from selfportrait.geometry import View, place, placed, show, view
from selfportrait.types import Instance, Picture, PreferencePair


def test_the_shorter_side_is_resized_and_the_longer_one_cut() -> None:
    """300x200 to 100: 150x100, and 25 of the 50 too many are cut on the left. 200x300 the same from the top."""
    assert view((300, 200), 100) == View((300, 200), (150, 100), 25, 0, 100)
    assert view((200, 300), 100) == View((200, 300), (100, 150), 0, 25, 100)
    assert view((64, 64), 64) == View((64, 64), (64, 64), 0, 0, 64)
    assert view((10, 10), 40).resized == (40, 40)


def test_sizes_and_centers_are_rounded_as_torchvision_rounds_them() -> None:
    """int(100 * 301 / 200) = 150; excess 151 - 100 = 51 of 303 wide, round(25.5) = 26, and round(24.5) = 24 of 49."""
    assert view((301, 200), 100).resized == (150, 100)
    assert (view((303, 200), 100).resized, view((303, 200), 100).left) == ((151, 100), 26)
    assert (view((299, 200), 100).resized, view((299, 200), 100).left) == ((149, 100), 24)


def test_boxes_are_scaled_shifted_and_clipped() -> None:
    """300x200 to 100: x becomes x / 2 - 25 and y becomes y / 2, outwards to whole pixels, inside 0 to 100."""
    seen = view((300, 200), 100)
    assert place((100, 40, 200, 120), seen, "box") == (25, 20, 75, 60)
    assert place((101, 41, 199, 119), seen, "box") == (25, 20, 75, 60)  # 25.5 down to 25, 74.5 up to 75
    assert place((0, 0, 300, 200), seen, "box") == (0, 0, 100, 100)
    assert place((40, 0, 60, 10), seen, "box") == (0, 0, 5, 5)  # x: 20 - 25 = -5 is clipped
    assert place((120, 60, 121, 61), seen, "box") == (35, 30, 36, 31)  # half a pixel is one


def test_a_mirrored_box_is_counted_from_the_right() -> None:
    seen = View((300, 200), (150, 100), 25, 0, 100, is_flipped=True)
    assert place((100, 40, 180, 120), seen, "box") == (100 - 65, 20, 100 - 25, 60)


def test_a_box_that_left_the_crop_is_none() -> None:
    """Columns 25 to 124 of the resized picture are kept: 50 to 249 of the original."""
    seen = view((300, 200), 100)
    assert place((0, 0, 50, 200), seen, "box") is None
    assert place((250, 0, 300, 200), seen, "box") is None
    assert place((0, 0, 51, 200), seen, "box") == (0, 0, 1, 100)
    assert place((249, 0, 300, 200), seen, "box") == (99, 0, 100, 100)
    low = view((200, 300), 100)
    assert place((0, 0, 200, 50), low, "box") is None
    assert place((0, 250, 200, 300), low, "box") is None


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((10, 10, 10, 20), "expected x0 < x1 and y0 < y1"),
        ((10, 20, 30, 20), "expected x0 < x1 and y0 < y1"),
        ((30, 10, 10, 20), "expected x0 < x1 and y0 < y1"),
        ((10, 30, 20, 10), "expected x0 < x1 and y0 < y1"),
        ((-1, 0, 10, 10), "expected it inside the picture of 300x200 pixels"),
        ((0, -1, 10, 10), "expected it inside the picture of 300x200 pixels"),
        ((0, 0, 301, 10), "expected it inside the picture of 300x200 pixels"),
        ((0, 0, 10, 201), "expected it inside the picture of 300x200 pixels"),
        ((400, 300, 500, 400), "expected it inside the picture of 300x200 pixels"),
    ],
)
def test_a_box_that_is_none_is_refused_with_its_pair(box: tuple[int, int, int, int], sentence: str) -> None:
    good = (0, 0, 10, 10)
    for side, instance in [("chosen", Instance("dog", box, good)), ("rejected", Instance("dog", good, box))]:
        picture = Picture("here", b"")
        pair = PreferencePair("p7", "a dog", picture, picture, (Instance("cat", good, good), instance))
        with pytest.raises(ValueError, match=r"inside|expected") as caught:
            placed(pair, side, view((300, 200), 100))
        assert str(caught.value) == f"pair p7: the {side} box of 'dog' is {list(box)}: {sentence}"


def test_the_boxes_of_a_side_come_in_their_order() -> None:
    instances = (
        Instance("cat", (0, 0, 50, 50), (0, 0, 300, 200)),
        Instance("dog", (100, 40, 200, 120), (0, 0, 300, 200)),
    )
    pair = PreferencePair("p", "a", Picture("here", b""), Picture("here", b""), instances)
    assert placed(pair, "chosen", view((300, 200), 100)) == [None, (25, 20, 75, 60)]
    assert placed(pair, "rejected", view((300, 200), 100)) == [(0, 0, 100, 100)] * 2


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (61, 47)])
@pytest.mark.parametrize("side", [30, 60])
@pytest.mark.parametrize("crop", ["center", "random"])
def test_a_box_covers_the_pixels_that_came_from_it(size: tuple[int, int], side: int, crop: str) -> None:
    """A white box on black: what is white in the crop lies inside the placed box, which is no larger than a blur."""
    box = (20, 25, 41, 38)
    image = Image.new("RGB", size)
    image.paste("white", box)
    for epoch in range(6):
        seen = view(size, side, crop=crop, flip=True, key=(0, "p", "chosen", epoch))
        shown = np.asarray(show(image, seen))[..., 0]
        assert shown.shape == (side, side)
        found = place(box, seen, "box")
        assert found is not None
        rows, columns = np.nonzero(shown > 127)
        x0, y0, x1, y1 = found
        assert x0 <= columns.min() <= x0 + 1
        assert y0 <= rows.min() <= y0 + 1
        assert x1 - 2 <= columns.max() <= x1 - 1
        assert y1 - 2 <= rows.max() <= y1 - 1


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    assert show(image, view((8, 8), 8)).tobytes() == image.tobytes()
    mirrored = show(image, View((8, 8), (8, 8), 0, 0, 8, is_flipped=True))
    assert np.array_equal(np.asarray(mirrored), np.asarray(image)[:, ::-1])


def views(**settings: object) -> list[View]:
    keys = itertools.product([0, 1], ["p0", "p1"], ["chosen", "rejected"], range(25))
    return [view((640, 64), 64, key=key, **settings) for key in keys]


def test_mirrors_and_crops_repeat_by_key_and_differ_by_seed_pair_side_and_epoch() -> None:
    flips = [seen.is_flipped for seen in views(flip=True)]
    assert flips == [seen.is_flipped for seen in views(flip=True)]
    assert 70 <= sum(flips) <= 130  # of 200
    groups = [flips[start : start + 25] for start in range(0, 200, 25)]
    assert all(one != other for one, other in itertools.combinations(groups, 2))
    lefts = [seen.left for seen in views(crop="random")]
    assert lefts == [seen.left for seen in views(crop="random")]
    assert 0 <= min(lefts) < 60
    assert 516 < max(lefts) <= 576
    assert len(set(lefts)) > 150
    assert not any(seen.is_flipped for seen in views(crop="random"))


def test_what_is_random_needs_a_key() -> None:
    for settings in ({"crop": "random"}, {"flip": True}):
        with pytest.raises(ValueError, match="needs a key"):
            view((10, 10), 5, **settings)
