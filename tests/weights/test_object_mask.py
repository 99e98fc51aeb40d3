"""Object weights by hand: Otsu's threshold, the blur, the guard for constant masks, and the union over objects."""

import math
from functools import partial

import pytest
import torch

from selfportrait.weights._masks import min_max, otsu, soften
from selfportrait.weights.base import from_masks, mask_of
from selfportrait.weights.object_mask import object_mask, object_masks

MAP = torch.tensor([[0.0, 0.05, 0.1, 0.15], [0.2, 0.5, 0.6, 0.7], [0.15, 0.8, 1.0, 0.9], [0.1, 0.05, 0.3, 0.35]])


def weights(*maps: torch.Tensor, **settings) -> torch.Tensor:
    """The weights of one candidate with these objects, as a picture."""
    stacked = torch.stack(maps).unsqueeze(0)
    return object_mask(torch.zeros(1, maps[0].numel()), stacked, **settings).view(maps[0].shape)


# Otsu


def test_otsu_by_hand() -> None:
    # Values 0, 0, 1, 4: the split after the bin of v separates k values below from 4 - k above. With means m, the
    # variance between is k (4 - k) (m_above - m_below)^2: after 0 2 * 2 * 2.5^2 = 25, after 1 3 * 1 * (11/3)^2 = 40.3.
    # The first bin after which 1 is below is its own, the 65th of 256 over [0, 4]: its centre is 64.5 / 64.
    assert otsu(torch.tensor([[0.0, 0.0, 1.0, 4.0]])).tolist() == pytest.approx([64.5 / 64])


def test_otsu_of_two_values_is_just_above_the_lower() -> None:
    # every bin in between splits alike, and the lowest is taken: the centre of the first of 256
    assert otsu(torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.2, 0.2, 0.2, 0.6]])).tolist() == pytest.approx(
        [0.5 / 256, 0.2 + 0.4 * 0.5 / 256]
    )


def test_otsu_against_a_plain_search() -> None:
    # the best split of sorted values lies between the same two values
    values = torch.rand(3, 40, generator=torch.Generator().manual_seed(0)).double()
    for row, threshold in zip(values, otsu(values), strict=True):
        between = {
            count: count * (40 - count) * (row.sort()[0][:count].mean() - row.sort()[0][count:].mean()) ** 2
            for count in range(1, 40)
        }
        best = max(between, key=lambda count: between[count])
        assert abs(int((row <= threshold).sum()) - best) <= 1  # a bin may hold two values


def test_otsu_agrees_with_scikit_image() -> None:
    assert otsu(MAP.flatten().unsqueeze(0)).tolist() == pytest.approx([0.34960938], abs=1e-8)


def test_the_factor_is_on_the_threshold_and_the_comparison_is_strict() -> None:
    maps = MAP.view(1, 1, 4, 4)
    assert object_masks(maps, 0.8).tolist() == [[[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]]
    assert object_masks(maps, 1.0).tolist() == [[[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]]
    two_values = torch.tensor([0.0, 1.0, 1.0, 0.5 / 256]).view(1, 1, 2, 2)  # the last is the threshold itself
    assert object_masks(two_values, 1.0).tolist() == [[[0, 1], [1, 0]]]


# The soft mask


def test_a_single_place_becomes_a_gaussian() -> None:
    # exp(-(dx^2 + dy^2) / 2) up to two steps away, because the factor of the kernel goes in stretching
    mask = torch.zeros(1, 24, 24)
    mask[0, 12, 12] = 1
    soft = soften(mask, 1.0)[0]
    for dy, dx in ((0, 0), (0, 1), (1, 1), (0, -2), (-2, 2)):
        assert soft[12 + dy, 12 + dx].item() == pytest.approx(math.exp(-(dx**2 + dy**2) / 2), abs=1e-6)
    assert soft[12, 15].item() == 0
    assert torch.allclose(soften(mask, 2.0)[0], soft**2)


def test_a_mask_of_ones_would_get_a_frame() -> None:
    # At a corner 3 x 3 of the kernel's 5 x 5 are inside, with e = e^-1/2 and f = e^-2 a share of
    # ((1 + e + f) / (1 + 2 e + 2 f))^2 = .48898; on an edge .69927; in the middle 1. Stretched from the corner on,
    # the edge is (.69927 - .48898) / (1 - .48898) = .41222.
    soft = soften(torch.ones(1, 24, 24), 1.0)[0]
    assert soft[0, 0].item() == 0
    assert soft[0, 12].item() == pytest.approx(0.41221763, abs=2e-6)
    assert soft[1, 12].item() == pytest.approx(0.89277348, abs=2e-6)
    assert soft[12, 12].item() == pytest.approx(1.0, abs=1e-6)
    assert not soften(torch.zeros(1, 24, 24), 1.0).any()


def test_a_constant_mask_is_used_as_it_is() -> None:
    # Two objects, the left and the right half, cover everything: no frame, weight 2 everywhere.
    left = torch.zeros(6, 6)
    left[:, :3] = 1
    assert torch.equal(weights(left, 1 - left), torch.full((6, 6), 2.0))


def test_a_constant_map_has_no_object_in_it() -> None:
    assert torch.equal(weights(torch.zeros(4, 4)), torch.ones(4, 4))
    assert torch.equal(weights(torch.full((4, 4), 0.5)), torch.ones(4, 4))
    assert torch.equal(weights(MAP, torch.zeros(4, 4)), weights(MAP))  # nor does it change what others mark


# Weights


def test_weights_by_hand() -> None:
    # Without blur the mask of a map of two values is that map; alpha 3 makes 1 + 3 m.
    mask = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert weights(mask, alpha=3.0, blur=False).tolist() == [[1, 4], [1, 1]]
    # Blurred: the place itself 1, its neighbour e^-1/2, the diagonal e^-1; stretching moves the least, e^-1, to 0.
    least, side = math.exp(-1), math.exp(-0.5)
    expected = 1 + (side - least) / (1 - least)
    soft = weights(mask)
    assert soft[0, 1].item() == pytest.approx(2.0, abs=1e-6)
    assert soft[0, 0].item() == soft[1, 1].item() == pytest.approx(expected, abs=1e-6)
    assert soft[1, 0].item() == pytest.approx(1.0)


def test_no_alpha_is_no_weighting() -> None:
    assert torch.equal(weights(MAP, alpha=0.0), torch.ones(4, 4))


def test_a_mask_that_was_kept_gives_the_same_weights_as_its_maps() -> None:
    maps = torch.stack([MAP, MAP.flip(1)]).unsqueeze(0)
    tokens = torch.zeros(1, 16)
    kept = object_masks(maps, 0.8).unsqueeze(1)
    assert torch.equal(object_mask(tokens, kept), object_mask(tokens, maps))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_weights_go_to_a_mask_and_back(alpha: float) -> None:
    weigh = partial(object_mask, alpha=alpha)
    maps, tokens = torch.stack([MAP, MAP.flip(1)]).unsqueeze(1), torch.zeros(2, 16)
    masks = mask_of(weigh, tokens, maps)
    assert masks.min() >= 0
    assert masks.max() == (1 if alpha else 0)
    assert torch.allclose(from_masks(weigh, masks), weigh(tokens, maps), atol=1e-6)


def test_candidates_are_weighed_alone() -> None:
    maps = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    whole = object_mask(torch.zeros(3, 36), maps)
    for row in range(3):
        assert torch.equal(object_mask(torch.zeros(1, 36), maps[row : row + 1]), whole[row : row + 1])


@pytest.mark.parametrize("maps", [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 2), torch.full((1, 1, 2, 2), 1.5)])
def test_maps_that_do_not_fit_are_refused(maps: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected \\(B, objects, h, w\\)"):
        object_mask(torch.zeros(1, 4), maps)


def test_min_max_of_attention() -> None:
    # .1, .4, .2, .3 become 0, 1, 1/3, 2/3
    found = min_max(torch.tensor([[0.1, 0.4], [0.2, 0.3]])).flatten().tolist()
    assert found == pytest.approx([0, 1, 1 / 3, 2 / 3], abs=1e-6)
