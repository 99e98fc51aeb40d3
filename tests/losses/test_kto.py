"""KTO against numbers derived by hand: the two sides of a pair, and what the batch is on average."""

import math

import pytest
import torch
from pair_cases import pair, random_pairs

from selfportrait.losses.kto import kto


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_value_by_hand() -> None:
    # Log-ratios of 3 and -1: k = 1. Desirable: 1 - sigmoid(.5 * 2); undesirable: 1 - sigmoid(-.5 * -2). Both
    # 1 - sigmoid(1) = .2689.
    output = kto(pair(-7.0, -11.0), pair(-10.0, -10.0), beta=0.5)
    assert output.loss.tolist() == pytest.approx([1 - sigmoid(1.0)])
    assert output.metrics["reward/baseline"].item() == pytest.approx(0.5)
    assert output.metrics["reward/margin"].item() == pytest.approx(2.0)


def test_a_baseline_below_zero_is_zero() -> None:
    # Log-ratios of -1 and -3: their mean is -2, so k = 0.
    loss = kto(pair(-11.0, -13.0), pair(-10.0, -10.0), beta=1.0).loss.item()
    assert loss == pytest.approx(((1 - sigmoid(-1.0)) + (1 - sigmoid(3.0))) / 2)


def test_weights_by_hand() -> None:
    # At the reference h = 1/2 on both sides: (lambda_d + lambda_u) / 4.
    policy = random_pairs(3, seed=0)
    assert kto(policy, policy).loss.tolist() == pytest.approx([0.5] * 3)
    weighted = kto(policy, policy, desirable_weight=4 / 3, undesirable_weight=0.5).loss
    assert weighted.tolist() == pytest.approx([(4 / 3 + 0.5) / 4] * 3)


def test_other_utilities_by_hand() -> None:
    # z = 1 on the chosen's side and 1 on the rejected's, as in the first case.
    given = (pair(-7.0, -11.0), pair(-10.0, -10.0))
    averse = kto(*given, beta=0.5, utility="loss_averse").loss.item()
    seeking = kto(*given, beta=0.5, utility="risk_seeking").loss.item()
    assert averse == pytest.approx(1 - math.log(sigmoid(1.0)))
    assert seeking == pytest.approx(1 + math.log(sigmoid(-1.0)))


def test_the_baseline_has_no_gradient_and_is_shared() -> None:
    policy, reference = random_pairs(4, seed=1), random_pairs(4, seed=2)
    policy.chosen.requires_grad_(True)
    kto(policy, reference).loss[0].backward()
    assert policy.chosen.grad is not None
    assert policy.chosen.grad[0] != 0
    assert not policy.chosen.grad[1:].any()
    whole = torch.cat([policy.chosen - reference.chosen, policy.rejected - reference.rejected]).mean().clamp(min=0)
    found = kto(policy, reference, beta=1.0).metrics["reward/baseline"]
    assert found.item() == pytest.approx(whole.item())
