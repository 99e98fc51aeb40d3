"""Instance weights by hand: what a conflict costs, overlaps, the crop, the unit mean on latents, and exact ones."""

import random
from functools import partial

import pytest
import torch

from selfportrait.boxes import Geometry
from selfportrait.types import Instance
from selfportrait.weights.instance_mask import instance_mask


def whole(width: int, height: int) -> Geometry:
    return Geometry.resizing((width, height), (width, height))


def conflict(box, other=None) -> Instance:
    return Instance("cat", box, other or box, is_conflict=True)


def agreeing(box) -> Instance:
    return Instance("dog", box, box, is_conflict=False)


def chosen(instances, geometry, grid, **settings) -> list[list[float]]:
    return instance_mask(instances, geometry, geometry, grid, **settings)[0, 0].tolist()


def rows(*values) -> list:
    return [pytest.approx(row, abs=1e-6) for row in values]


def test_one_conflict_by_hand() -> None:
    # 2x2 latents of 2 pixels, the left column in the box: raw 0 and 1, mean 1/2
    assert chosen([conflict((0, 0, 2, 4))], whole(4, 4), (2, 2)) == rows([0, 2], [0, 2])


def test_a_box_that_agrees_only_dilutes_the_conflict() -> None:
    # N = 2: the conflicting column has (1 + 0)/2, the other 1; the mean is 3/4
    expected = rows([2 / 3, 4 / 3], [2 / 3, 4 / 3])
    for box in ((0, 0, 4, 4), (2, 2, 4, 4)):
        assert chosen([conflict((0, 0, 2, 4)), agreeing(box)], whole(4, 4), (2, 2)) == expected


def test_one_conflict_of_three_leaves_two_thirds_and_a_third_of_w_neg() -> None:
    instances = [conflict((0, 0, 2, 4)), agreeing((2, 0, 4, 4)), agreeing((2, 0, 4, 4))]
    inside, outside = chosen(instances, whole(4, 4), (2, 2), w_neg=0.5)[0]
    assert inside / outside == pytest.approx((2 + 0.5) / 3)


def test_a_mean_over_covering_boxes_by_hand() -> None:
    # Three pixels: the left is in the conflict alone, 0; the right in two that agree, 1
    instances = [conflict((0, 0, 2, 1)), agreeing((1, 0, 3, 1)), agreeing((1, 0, 3, 1))]
    grid = (3, 1)
    # in the middle two agree and one does not: 2/3, and the mean is 5/9
    assert chosen(instances, whole(3, 1), grid, overlap="mean_covering") == rows([0, 2 / 3 * 9 / 5, 9 / 5])
    # over all three the left pixel has 2/3 too: raw 2/3, 2/3, 1 with mean 7/9
    assert chosen(instances, whole(3, 1), grid) == rows([6 / 7, 6 / 7, 9 / 7])


def test_a_latent_that_is_half_in_the_box_counts_in_between() -> None:
    # 4x2 pixels, two latents; the box is the first pixel's column: raw 1/2 and 1, mean 3/4
    assert chosen([conflict((0, 0, 1, 2))], whole(4, 2), (2, 1)) == rows([2 / 3, 4 / 3])
    # of latents that are touched the first is all in: 0 and 1
    assert chosen([conflict((0, 0, 1, 2))], whole(4, 2), (2, 1), boxes="latents") == rows([0, 2])


def test_each_picture_has_its_own_box_and_geometry() -> None:
    pair = [conflict((0, 0, 2, 4), (2, 0, 4, 4))]
    straight = instance_mask(pair, whole(4, 4), whole(4, 4), (2, 2))
    assert straight[:, 0, 0].tolist() == [[0, 2], [2, 0]]
    mirrored = whole(4, 4)._replace(is_flipped=True)
    assert instance_mask(pair, mirrored, whole(4, 4), (2, 2))[:, 0, 0].tolist() == [[2, 0], [2, 0]]
    assert instance_mask(pair, whole(4, 4), mirrored, (2, 2))[:, 0, 0].tolist() == [[0, 2], [0, 2]]


def test_a_picture_is_resized_and_cropped_as_its_box_is() -> None:
    # 16x8 to 8x4, then the middle 4x4: the box from 8 to 12 becomes 4 to 6, less 2
    geometry = Geometry((16, 8), (8, 4), (2, 0, 6, 4))
    assert chosen([conflict((8, 0, 12, 8))], geometry, (2, 2)) == rows([2, 0], [2, 0])


@pytest.mark.parametrize(
    ("instances", "settings"),
    [
        ([], {}),
        ([agreeing((0, 0, 3, 3))], {}),
        ([conflict((0, 0, 3, 3))], {"w_neg": 1.0}),
        ([conflict((0, 0, 3, 3)), agreeing((1, 1, 2, 2)), conflict((2, 2, 7, 7))], {"w_neg": 1.0}),
        ([conflict((0, 0, 8, 8))], {}),  # every pixel in conflict: a map of zeros
        ([conflict((0, 0, 8, 8))], {"w_neg": 0.3}),
        ([conflict((0, 0, 8, 8)), agreeing((0, 0, 4, 4)), agreeing((0, 0, 4, 4))], {}),
    ],
)
@pytest.mark.parametrize("boxes", ["pixels", "latents"])
@pytest.mark.parametrize("grid", [(4, 4), (8, 8)])
def test_a_map_of_one_value_becomes_ones_exactly(instances, settings, boxes, grid) -> None:
    found = instance_mask(instances, whole(8, 8), whole(8, 8), grid, boxes=boxes, **settings)
    assert torch.equal(found, torch.ones(2, 1, grid[1], grid[0]))


def test_a_conflict_outside_the_crop_leaves_ones() -> None:
    geometry = Geometry((16, 8), (16, 8), (0, 0, 8, 8))
    assert chosen([conflict((8, 0, 16, 8))], geometry, (2, 2)) == [[1, 1], [1, 1]]


@pytest.mark.parametrize("overlap", ["mean_all", "mean_covering"])
@pytest.mark.parametrize("boxes", ["pixels", "latents"])
def test_the_mean_on_the_latent_grid_is_one(overlap, boxes) -> None:
    chance = random.Random(0)
    for _ in range(20):
        instances = []
        for _ in range(chance.randint(1, 5)):
            x0, y0 = chance.randrange(95), chance.randrange(63)
            box = (x0, y0, chance.randint(x0 + 1, 96), chance.randint(y0 + 1, 64))
            instances.append(Instance("a", box, box, is_conflict=chance.random() < 0.5))
        geometry = Geometry((96, 64), (48, 32), (8, 0, 40, 32), is_flipped=chance.random() < 0.5)
        found = instance_mask(instances, geometry, geometry, (4, 4), w_neg=0.2, overlap=overlap, boxes=boxes)
        assert found.mean((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_pixels_on_whole_latents_and_touched_latents_agree() -> None:
    instances = [conflict((8, 0, 24, 16)), agreeing((0, 8, 16, 32))]
    both = [partial(chosen, instances, whole(32, 32), (4, 4), boxes=boxes) for boxes in ("pixels", "latents")]
    for overlap in ("mean_all", "mean_covering"):
        assert both[0](overlap=overlap) == both[1](overlap=overlap)


@pytest.mark.parametrize("box", [(0, 0, 5, 4), (-1, 0, 2, 2), (2, 2, 2, 3), (3, 0, 1, 2)])
def test_a_box_that_does_not_fit_is_refused(box) -> None:
    with pytest.raises(ValueError, match=r"'cat' cannot be masked, chosen_box: the box .* leave it out"):
        instance_mask([conflict(box, (0, 0, 1, 1))], whole(4, 4), whole(4, 4), (2, 2))


@pytest.mark.parametrize("grid", [(3, 2), (2, 1), (8, 8)])
def test_a_grid_that_does_not_fit_is_refused(grid) -> None:
    with pytest.raises(ValueError, match="same whole factor both ways"):
        instance_mask([], whole(4, 4), whole(4, 4), grid)


def test_without_a_conflict_the_loss_is_that_of_plain_pairs_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, noise, policy, reference = torch.randn(4, 2, 4, 8, 8, generator=generator)
    weights = instance_mask([agreeing((0, 0, 9, 9))], whole(64, 64), whole(64, 64), (8, 8))  # (2, 1, 8, 8)
    for prediction in (latents, policy, reference):
        errors = (noise - prediction).square()  # (2, 4, 8, 8)
        assert torch.equal((weights * errors).mean((1, 2, 3)), errors.mean((1, 2, 3)))
