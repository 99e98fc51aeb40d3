"""OWLv2 on a tiny random checkpoint of the real class: any name, boxes of the padded square, names side by side."""

import numpy as np
import pytest
import torch
from PIL import Image

from selfportrait import canvas
from selfportrait.boxes import problem
from selfportrait.detectors.owlv2 import Owlv2, _above

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8))
PICTURES = [Image.new("RGB", (64, 48), "red"), NOISE, Image.new("L", (30, 40), 9)]
NAMES = [["red cat", "dog"], ["unicorn", "owl", "dog"], []]


def owl(tiny, **settings) -> Owlv2:
    return Owlv2(path=str(tiny("owlv2")), device="cpu", **{"threshold": 0.0, **settings})


def test_every_name_gets_boxes_that_fit(tiny) -> None:
    found = owl(tiny)(PICTURES, NAMES)
    for picture, several, names in zip(PICTURES, found, NAMES, strict=True):
        assert list(dict.fromkeys(one.name for one in several)) == names
        assert all(problem(one.box, picture.size) is None for one in several)


def test_other_names_and_other_pictures_of_a_batch_change_nothing(tiny) -> None:
    together = owl(tiny, batch_size=4)(PICTURES, NAMES)
    alone = owl(tiny, batch_size=1)(PICTURES, [NAMES[0], ["dog"], []])
    dogs = [one for one in together[1] if one.name == "dog"]
    assert [one.box for one in dogs] == [one.box for one in alone[1]]
    assert [one.score for one in dogs] == pytest.approx([one.score for one in alone[1]], abs=1e-5)


def test_boxes_are_parts_of_the_square_that_the_picture_was_padded_to() -> None:
    # 200 x 100 is padded below to 200 x 200: centre (50, 50), size 20 x 60 -> x 40 to 60, y 20 to 80
    boxes = torch.tensor([[0.25, 0.25, 0.1, 0.3], [0.5, 0.9, 0.1, 0.1], [0.5, 0.25, 0.5, 0.5]])
    confidences = torch.tensor([[0.6, 0.1], [0.9, 0.9], [0.3, 0.4]])
    found = _above(0.2, ["cat", "dog"], confidences, boxes, canvas.fit(Image.new("RGB", (200, 100))))
    # the second lies in the padding
    assert [(one.name, one.box) for one in found] == [
        ("cat", (40, 20, 60, 80)), ("cat", (50, 0, 150, 100)), ("dog", (50, 0, 150, 100)),
    ]  # fmt: skip


def test_nothing_to_look_for_loads_nothing() -> None:
    assert Owlv2(path="no/such-model")(PICTURES, [[], [], []]) == [[], [], []]
