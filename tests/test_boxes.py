"""Boxes by hand: what fits, resizing, cropping, mirroring, cells that are touched, and a patch around a box."""

import random

import pytest

from selfportrait.boxes import Geometry, area, containment, iou, overlap, place, problem, square_around, touched

WHOLE = Geometry.resizing((100, 50), (100, 50))


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ((0, 0, 100, 50), None),
        ((99, 49, 100, 50), None),
        ((5, 5, 5, 9), "empty or inverted"),
        ((5, 9, 9, 5), "empty or inverted"),
        ((-1, 0, 9, 9), "leaves its picture of 100x50 pixels"),
        ((0, 0, 101, 9), "leaves its picture"),
        ((0, 0, 9, 51), "leaves its picture"),
    ],
)
def test_a_box_fits_or_says_why_not(box, word) -> None:
    found = problem(box, (100, 50))
    assert found is None if word is None else word in found


def test_a_box_of_an_unchanged_picture_stays_where_it_is() -> None:
    assert place((3, 4, 10, 20), WHOLE) == (3, 4, 10, 20)


def test_resizing_rounds_outwards() -> None:
    # 100x50 to 50x25: half of (3, 4, 10, 21) is (1.5, 2, 5, 10.5)
    assert place((3, 4, 10, 21), Geometry.resizing((100, 50), (50, 25))) == (1, 2, 5, 11)
    # to 300x150 nothing is rounded
    assert place((3, 4, 10, 21), Geometry.resizing((100, 50), (300, 150))) == (9, 12, 30, 63)


def test_a_crop_moves_and_cuts_a_box() -> None:
    # shorter side to 25, then the middle 25x25 of 50x25, which begins at x = 12
    geometry = Geometry((100, 50), (50, 25), (12, 0, 37, 25))
    assert place((40, 0, 60, 50), geometry) == (8, 0, 18, 25)  # 20 to 30, less 12
    assert place((0, 0, 40, 50), geometry) == (0, 0, 8, 25)  # 0 to 20, cut at 12
    assert place((0, 0, 24, 50), geometry) is None  # 0 to 12 is outside, half-open


def test_mirroring_comes_last() -> None:
    geometry = Geometry((100, 50), (50, 25), (12, 0, 37, 25), is_flipped=True)
    assert place((40, 10, 60, 20), geometry) == (25 - 18, 5, 25 - 8, 10)


def test_mirroring_twice_is_nothing() -> None:
    mirrored = WHOLE._replace(is_flipped=True)
    chance = random.Random(0)
    for _ in range(50):
        x0, y0 = chance.randrange(99), chance.randrange(49)
        box = (x0, y0, chance.randint(x0 + 1, 100), chance.randint(y0 + 1, 50))
        assert place(place(box, mirrored), mirrored) == box


def test_a_box_touches_at_least_one_cell() -> None:
    assert touched((9, 9, 10, 10), 8) == (1, 1, 2, 2)
    assert touched((7, 0, 9, 8), 8) == (0, 0, 2, 1)
    assert touched((8, 8, 24, 16), 8) == (1, 1, 3, 2)


def test_overlap_and_area() -> None:
    assert area(overlap((0, 0, 4, 4), (2, 1, 9, 3))) == 4
    assert area(overlap((0, 0, 4, 4), (4, 0, 9, 3))) == 0
    assert area(overlap((0, 0, 1, 1), (5, 5, 9, 9))) == 0


def test_a_patch_is_centred_square_and_inside() -> None:
    assert square_around((40, 20, 50, 24), (100, 50), 2.0) == (35, 12, 55, 32)  # 20 wide around (45, 22)
    assert square_around((0, 0, 10, 10), (100, 50), 2.0) == (0, 0, 20, 20)  # moved in
    assert square_around((90, 40, 100, 50), (100, 50), 2.0) == (80, 30, 100, 50)
    assert square_around((0, 0, 100, 10), (100, 50), 1.5) == (0, 0, 100, 50)  # no larger than the picture


def test_intersection_over_union_and_containment_by_hand() -> None:
    # two squares of 16 that share 2x4 = 8: 8 / 24; a square of 4 inside one of 16: 4 / 16, wholly contained
    assert iou((0, 0, 4, 4), (2, 0, 6, 4)) == pytest.approx(1 / 3)
    assert containment((0, 0, 4, 4), (2, 0, 6, 4)) == pytest.approx(1 / 2)
    assert iou((0, 0, 4, 4), (1, 1, 3, 3)) == pytest.approx(1 / 4)
    assert containment((1, 1, 3, 3), (0, 0, 4, 4)) == containment((0, 0, 4, 4), (1, 1, 3, 3)) == 1
    assert iou((0, 0, 4, 4), (0, 0, 4, 4)) == 1
    for apart in ((4, 0, 8, 4), (9, 9, 12, 12)):
        assert iou((0, 0, 4, 4), apart) == containment((0, 0, 4, 4), apart) == 0
