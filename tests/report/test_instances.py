"""A pair with boxes: where they are drawn and in which colour, what the weights grey out, and hostile texts."""

import base64
import io
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from selfportrait.report.instances import AGREES, CONFLICT, boxed, render_pair, shown, weighed
from selfportrait.types import Instance
from selfportrait.weights.instance_mask import instance_mask

HOSTILE = "</p><script>alert('x')</script> \"&amp; {{ 7 * 7 }}"
GREY = Image.new("RGB", (64, 32), (120, 120, 120))
AGREEING = Instance("cat", (40, 4, 56, 20), (2, 2, 20, 20), is_conflict=False, chosen_confidence=0.75)
IN_CONFLICT = Instance("dog", (4, 4, 20, 28), (30, 10, 60, 30), is_conflict=True)


def test_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_reduced() -> None:
    assert [shown(Image.new("RGB", size)).size for size in ((64, 32), (384, 200), (1024, 512), (200, 800))] == [
        (384, 192), (384, 200), (384, 192), (96, 384),
    ]  # fmt: skip


def test_boxes_are_drawn_where_they_are_in_their_colour() -> None:
    canvas = boxed(GREY, [(AGREEING.chosen_box, False), (IN_CONFLICT.chosen_box, True)])  # six times as large
    assert canvas.size == (384, 192)
    for colour, (x0, y0, x1, y1) in ((AGREES, (240, 24, 336, 120)), (CONFLICT, (24, 24, 120, 168))):
        for place in ((x0 + 1, y1 - 2), (x1 - 2, y0 + 1), (x1 - 2, y1 - 2), (x0, (y0 + y1) // 2), (x1 - 1, y1 - 1)):
            assert canvas.getpixel(place) == colour
        for place in ((x0 - 1, y1 - 2), (x1, y0 + 1), (x1, y1), ((x0 + x1) // 2, (y0 + y1) // 2 + 9)):
            assert canvas.getpixel(place) == (120, 120, 120)


def test_a_box_at_the_edge_stays_in_the_picture() -> None:
    canvas = boxed(GREY, [((0, 0, 64, 32), True), ((63, 31, 64, 32), False)])
    assert canvas.getpixel((383, 0)) == CONFLICT


def test_what_the_weights_take_away_turns_grey() -> None:
    red = Image.new("RGB", (64, 32), (220, 20, 20))
    faded = np.asarray(weighed(instance_mask, [IN_CONFLICT], red, red, 0)).astype(int)
    assert tuple(faded[90, 300]) == (220, 20, 20)
    inside = faded[90, 72]
    assert inside.max() - inside.min() == 0  # the fog has no colour
    rejected = np.asarray(weighed(instance_mask, [IN_CONFLICT], red, red, 1)).astype(int)
    assert tuple(rejected[90, 72]) == (220, 20, 20)
    assert rejected[120, 300].max() == rejected[120, 300].min()


@pytest.mark.parametrize("weights", [None, partial(instance_mask, w_neg=0.5)])
def test_a_pair_is_rendered_with_both_pictures_of_their_own_sizes(weights) -> None:
    large = Image.new("RGB", (500, 1000), "blue")
    wide = Instance("cat", (0, 0, 64, 32), (100, 100, 500, 1000), is_conflict=True)
    html = render_pair("a cat", GREY, large, [wide, AGREEING], weights)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'base64,([^"]+)"', html)]
    assert [picture.size[0] / picture.size[1] for picture in pictures] == (
        [2, 0.5] if weights is None else [2, 2, 0.5, 0.5]
    )
    text = " ".join(re.sub(r"<[^>]*>", " ", html).split())
    assert "cat: conflict, the rejected is better" in text
    assert "cat: agrees confidence 0.75 and 1" in text


def test_hostile_texts_are_escaped() -> None:
    hostile = Instance(HOSTILE, (0, 0, 9, 9), (0, 0, 9, 9), is_conflict=True)
    html = render_pair(HOSTILE, GREY, GREY, [hostile], instance_mask)
    assert "<script" not in html
    assert "49" not in re.sub(r'base64,[^"]+"', "", html)
    assert html.count("&lt;script&gt;") >= 3  # the prompt, its alternative texts and the name
    assert not re.search(r'alt="[^"]*[<>][^"]*"', html)


def test_a_pair_without_instances_says_so() -> None:
    assert "no instance" in render_pair("a cat", GREY, GREY, [])
