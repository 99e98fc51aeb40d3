"""The hinge loss against numbers derived by hand."""

import pytest
from pair_cases import pair, random_pairs

from selfportrait.losses.hinge import hinge


def test_value_by_hand() -> None:
    # Log-ratios 2 and -1, beta .2: z = .6, and 1 - .6 = .4.
    output = hinge(pair(-8.0, -11.0), pair(-10.0, -10.0), beta=0.2)
    assert output.loss.tolist() == pytest.approx([0.4])
    assert output.metrics["reward/margin"].item() == pytest.approx(0.6)


def test_a_pair_far_enough_apart_is_left_alone() -> None:
    policy = pair(-5.0, -11.0)
    policy.chosen.requires_grad_(True)
    loss = hinge(policy, pair(-10.0, -10.0), beta=0.2).loss  # z = 1.2
    loss.sum().backward()
    assert loss.item() == 0
    assert policy.chosen.grad.item() == 0


def test_at_the_reference_it_is_one() -> None:
    policy = random_pairs(3, seed=0)
    assert hinge(policy, policy).loss.tolist() == pytest.approx([1.0] * 3)
