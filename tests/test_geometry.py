"""Resizing, cropping and mirroring pictures: numbers by hand, and pixels against where boxes come to lie."""

import itertools

import numpy as np
import pytest
from PIL import Image

from selfportrait.boxes import Geometry, place
from selfportrait.geometry import show, view


def test_the_shorter_side_is_resized_and_the_longer_one_cut() -> None:
    """300x200 to 100: 150x100, and 25 of the 50 too many are cut on the left. 200x300 the same from the top."""
    assert view((300, 200), 100) == Geometry((300, 200), (150, 100), (25, 0, 125, 100))
    assert view((200, 300), 100) == Geometry((200, 300), (100, 150), (0, 25, 100, 125))
    assert view((64, 64), 64) == Geometry((64, 64), (64, 64), (0, 0, 64, 64))
    assert view((10, 10), 40).resized == (40, 40)


def test_sizes_and_centers_are_rounded_as_torchvision_rounds_them() -> None:
    """int(100 * 301 / 200) = 150; excess 151 - 100 = 51 of 303 wide, round(25.5) = 26, and round(24.5) = 24 of 49."""
    assert view((301, 200), 100).resized == (150, 100)
    assert (view((303, 200), 100).resized, view((303, 200), 100).crop[0]) == ((151, 100), 26)
    assert (view((299, 200), 100).resized, view((299, 200), 100).crop[0]) == ((149, 100), 24)


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
        found = place(box, seen)
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
    mirrored = show(image, Geometry((8, 8), (8, 8), (0, 0, 8, 8), is_flipped=True))
    assert np.array_equal(np.asarray(mirrored), np.asarray(image)[:, ::-1])


def views(**settings: object) -> list[Geometry]:
    keys = itertools.product([0, 1], ["p0", "p1"], ["chosen", "rejected"], range(25))
    return [view((640, 64), 64, key=key, **settings) for key in keys]


def test_mirrors_and_crops_repeat_by_key_and_differ_by_seed_pair_side_and_epoch() -> None:
    flips = [seen.is_flipped for seen in views(flip=True)]
    assert flips == [seen.is_flipped for seen in views(flip=True)]
    assert 70 <= sum(flips) <= 130  # of 200
    groups = [flips[start : start + 25] for start in range(0, 200, 25)]
    assert all(one != other for one, other in itertools.combinations(groups, 2))
    lefts = [seen.crop[0] for seen in views(crop="random")]
    assert lefts == [seen.crop[0] for seen in views(crop="random")]
    assert 0 <= min(lefts) < 60
    assert 516 < max(lefts) <= 576
    assert len(set(lefts)) > 150
    assert not any(seen.is_flipped for seen in views(crop="random"))


def test_what_is_random_needs_a_key() -> None:
    for settings in ({"crop": "random"}, {"flip": True}):
        with pytest.raises(ValueError, match="needs a key"):
            view((10, 10), 5, **settings)
