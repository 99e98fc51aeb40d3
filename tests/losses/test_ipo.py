"""IPO against numbers derived by hand: a parabola around its target."""

import pytest
import torch
from pair_cases import OBJECT, pair, random_pairs

from selfportrait.losses.ipo import ipo


def test_value_by_hand() -> None:
    # Over 10 tokens the log-ratios are 2 and -1, a token .2 and -.1: D = .3, and (.3 - 1 / .2)^2 = 4.7^2 = 22.09.
    output = ipo(pair(-98.0, -105.0, 10.0), pair(-100.0, -104.0, 10.0), beta=0.1)
    assert output.loss.tolist() == pytest.approx([22.09])
    assert output.metrics["reward/margin"].item() == pytest.approx(0.03)  # beta D


def test_weighted_lengths_by_hand() -> None:
    # -26 / 6 + 34 / 6 = 4/3 against a reference of log-likelihood 0; (4/3 - 1)^2 = 1/9 at beta 1/2.
    reference = OBJECT._replace(chosen=torch.zeros(1), rejected=torch.zeros(1))
    assert ipo(OBJECT, reference, beta=0.5).loss.tolist() == pytest.approx([1 / 9])


def test_at_the_reference_it_is_the_squared_target() -> None:
    policy = random_pairs(3, seed=0)
    assert ipo(policy, policy, beta=0.25).loss.tolist() == pytest.approx([4.0] * 3)


def test_the_target_is_a_minimum() -> None:
    # D = 1 / (2 beta) = 2 has no loss and no gradient; beyond it the gradient turns round.
    gradients = []
    for chosen in (1.0, 2.0, 3.0):
        policy = pair(chosen, 0.0)
        policy.chosen.requires_grad_(True)
        ipo(policy, pair(0.0, 0.0), beta=0.25).loss.sum().backward()
        gradients.append(policy.chosen.grad.item())
    assert gradients == [-2.0, 0.0, 2.0]
