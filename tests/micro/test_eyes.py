"""What the vision encoder is to say of each cell, and its loss."""

import math
import random

import pytest
import torch

from selfportrait.micro import eyes
from selfportrait.micro.detect import detect
from selfportrait.micro.scenes import scatter
from selfportrait.micro.world import COLOURS, RADII, SHAPES, Item, Scene, render


def seen(scene: Scene) -> torch.Tensor:
    return eyes.cells(detect(render(scene)))


def test_what_stands_where_is_told_by_cell() -> None:
    items = (Item("red", "star", "large", 24, 8), Item("blue", "ring", "small", 41, 58))  # columns 1, 2; rows 0, 3
    expected = torch.full((3, 4, 4), eyes.EMPTY)
    expected[:, 0, 1] = torch.tensor([list(COLOURS).index("red"), SHAPES.index("star"), list(RADII).index("large")])
    expected[:, 3, 2] = torch.tensor([list(COLOURS).index("blue"), SHAPES.index("ring"), list(RADII).index("small")])
    assert torch.equal(seen(Scene(items, "gray")).int(), expected.int())


def test_every_shape_has_a_cell_of_its_own() -> None:
    rng = random.Random(1)
    scenes = [scatter(rng, count) for count in range(1, 15)]
    assert [int((seen(scene)[0] != eyes.EMPTY).sum()) for scene in scenes] == [len(scene.items) for scene in scenes]


def test_heads_that_know_nothing_lose_the_logarithms_of_the_choices() -> None:
    heads = eyes.new_heads(8, seed=0)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
    numbers = torch.stack([seen(scatter(random.Random(2), 4)).long()])
    # 36 kinds or none, 6 colours, 6 shapes and 3 sizes where there is one, 4 rows and 4 columns at a weight of 0.3
    expected = math.log(37) + math.log(6) + math.log(6) + math.log(3) + 0.6 * math.log(4)
    loss = eyes.cells_loss(heads, torch.randn(1, 64, 8), numbers)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_only_the_first_patch_of_a_cell_speaks_for_it() -> None:
    heads = eyes.new_heads(8, seed=0)
    numbers = torch.stack([seen(scatter(random.Random(3), 4)).long()])
    features = torch.randn(1, 64, 8, requires_grad=True)
    eyes.cells_loss(heads, features, numbers).backward()
    assert features.grad is not None
    speaks = features.grad.abs().sum(2).view(8, 8) > 0
    assert speaks[::2, ::2].all()
    assert int(speaks.sum()) == 16
