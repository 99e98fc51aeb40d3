"""What a scene looks like in pixels."""

import numpy as np
import pytest

from selfportrait.micro.world import BACKGROUNDS, COLOURS, RADII, SHAPES, Item, Scene, Word, render, stencil


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene))


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_an_empty_scene_is_its_background(name: str) -> None:
    assert (pixels(Scene(background=name)) == BACKGROUNDS[name]).all()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_shape_has_its_exact_colour_inside(colour: str) -> None:
    drawn = pixels(Scene((Item(colour, "square", "large", 24, 40),)))
    assert (drawn[36:44, 20:28] == COLOURS[colour]).all()
    assert (drawn[:32] == BACKGROUNDS["black"]).all()  # 8 pixels above the centre nothing is left of it
    assert (drawn[:, 32:] == BACKGROUNDS["black"]).all()


def test_a_stencil_is_centred_between_four_pixels() -> None:
    for shape in ("circle", "square", "cross", "ring"):
        coverage = stencil(shape, RADII["medium"])
        assert np.abs(coverage - coverage[::-1, ::-1]).max() < 0.25, shape  # up to how PIL draws an edge
    assert stencil("ring", 5.5)[7:9, 7:9].max() == 0
    assert stencil("circle", 5.5)[7:9, 7:9].min() == 1


def test_every_shape_differs_from_every_other_at_every_size() -> None:
    for radius in RADII.values():
        for index, first in enumerate(SHAPES):
            for second in SHAPES[index + 1 :]:
                assert np.abs(stencil(first, radius) - stencil(second, radius)).sum() > 3


def test_a_square_of_the_stencil_fills_what_geometry_says() -> None:
    # side 2 * 0.9 * 5.5 = 9.9, area 98.01
    assert stencil("square", 5.5).sum() == pytest.approx(98, abs=4)
    # pi * 5.5^2 = 95.0
    assert stencil("circle", 5.5).sum() == pytest.approx(95, abs=4)


def test_a_word_is_drawn_in_its_colour() -> None:
    drawn = pixels(Scene(word=Word("CAT", "red")))
    assert (drawn == COLOURS["red"]).all(axis=-1).sum() > 30


def test_a_shape_may_touch_the_edge() -> None:
    drawn = pixels(Scene((Item("red", "circle", "medium", 2, 62),)))
    assert (drawn[62, 2] == COLOURS["red"]).all()
