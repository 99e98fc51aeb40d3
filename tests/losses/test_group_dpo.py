"""Group-DPO's coefficients against numbers derived by hand, and against the pairs they stand for."""

import itertools

import pytest
import torch

from selfportrait.losses.group_dpo import group_dpo


def coefficients(advantages: list[float]) -> list[float]:
    """Read c_i off the loss at errors of 1."""
    return group_dpo(-torch.ones(len(advantages)), None, torch.tensor(advantages)).loss.tolist()


def test_value_by_hand() -> None:
    # G = 4, advantages .1, 1.2, -.9, -.4: ranks 1, 0, 3, 2, coefficients 3 - 2 rank = 1, 3, -3, -1.
    # With errors .5, .2, .4, .3 the losses are .5, .6, -1.2, -.3, in sum -.4.
    policy = -torch.tensor([0.5, 0.2, 0.4, 0.3], dtype=torch.float64)
    output = group_dpo(policy, None, torch.tensor([0.1, 1.2, -0.9, -0.4], dtype=torch.float64))
    assert output.loss.tolist() == pytest.approx([0.5, 0.6, -1.2, -0.3])
    assert output.loss.sum().item() == pytest.approx(-0.4)
    assert output.metrics["error/above"].item() == pytest.approx(0.35)  # (.5 + .2) / 2
    assert output.metrics["error/below"].item() == pytest.approx(0.35)  # (.4 + .3) / 2


def test_ties_share_the_mean() -> None:
    # Of 3, 1, -1, -3 the two in the middle are equal and share (1 - 1) / 2 = 0; then the upper three share
    # (3 + 1 - 1) / 3 = 1; then all share 0.
    assert coefficients([0.5, 0.0, 0.0, -0.5]) == [3, 0, 0, -3]
    assert coefficients([0.3, 0.3, 0.3, -0.9]) == [1, 1, 1, -3]
    assert coefficients([0.0, 0.0, 0.0, 0.0]) == [0, 0, 0, 0]


@pytest.mark.parametrize("size", [2, 5, 8, 32])
def test_mean_and_variance(size: int) -> None:
    # The coefficients G-1, G-3, ..., 1-G have mean 0 and population variance (G^2 - 1) / 3.
    found = torch.tensor(
        coefficients(torch.randperm(size, generator=torch.Generator().manual_seed(0)).float().tolist())
    )
    assert found.sum() == 0
    assert found.square().mean().item() == pytest.approx((size**2 - 1) / 3)


def test_agrees_with_the_sum_over_pairs() -> None:
    # The gradient of -logsigmoid(beta / 2 * d) over all ordered pairs, d the difference of the changes in error, is
    # beta / 4 times ours at the reference, where each pair's sigmoid is 1/2.
    policy = torch.tensor([-0.3, -0.6, -0.2, -0.9], dtype=torch.float64, requires_grad=True)
    advantages, beta = torch.tensor([0.4, -1.0, 1.1, -0.5], dtype=torch.float64), 10.0
    change = policy - policy.detach()
    pairs = [(i, j) for i, j in itertools.permutations(range(4), 2) if advantages[i] > advantages[j]]
    loss = sum(-torch.nn.functional.logsigmoid(beta / 2 * (change[i] - change[j])) for i, j in pairs)
    (expected,) = torch.autograd.grad(loss, policy)
    (found,) = torch.autograd.grad(group_dpo(policy, None, advantages).loss.sum(), policy)
    assert torch.allclose(found * beta / 4, expected, atol=1e-12)
