"""GPO's loss against numbers derived by hand, its guard, and what its gradient does."""

import math

import pytest
import torch

from selfportrait.losses.gpo import gpo


def test_value_by_hand() -> None:
    # Rewards 0, 1, 1, 2 have mean 1 and population std sqrt((1 + 0 + 0 + 1) / 4) = sqrt(1/2), so the advantages are
    # -sqrt 2, 0, 0, sqrt 2. With errors .5, .4, .3, .2 (log-likelihoods their negatives) the losses are A_i e_i:
    # -.5 sqrt 2, 0, 0, .2 sqrt 2, in sum -.3 sqrt 2 = -.42426407.
    advantages = torch.tensor([-math.sqrt(2), 0.0, 0.0, math.sqrt(2)], dtype=torch.float64)
    policy = -torch.tensor([0.5, 0.4, 0.3, 0.2], dtype=torch.float64)
    output = gpo(policy, None, advantages)
    assert output.loss.tolist() == pytest.approx([-0.70710678, 0.0, 0.0, 0.28284271], abs=1e-8)
    assert output.loss.sum().item() == pytest.approx(-0.42426407, abs=1e-8)
    # one candidate above the mean with error .2, one below with .5
    assert output.metrics["error/above"].item() == pytest.approx(0.2)
    assert output.metrics["error/below"].item() == pytest.approx(0.5)


def test_reference_changes_the_value_only() -> None:
    # The paper's A_i (e_i - e_ref_i) at policy = reference is 0 with the gradient A_i de_i, which is ours.
    advantages = torch.tensor([1.5, -0.5, -1.0])
    policy = torch.tensor([-0.3, -0.6, -0.2], requires_grad=True)
    paper = advantages * (-policy - -policy.detach())
    (expected,) = torch.autograd.grad(paper.sum(), policy)
    (found,) = torch.autograd.grad(gpo(policy, None, advantages).loss.sum(), policy)
    assert paper.abs().max() == 0
    assert torch.equal(found, expected)


def test_shared_error_cancels() -> None:
    # Advantages sum to zero, so an error that a shared draw adds to every candidate changes nothing.
    advantages = torch.tensor([1.0, 0.5, -1.5], dtype=torch.float64)
    policy = torch.tensor([-0.3, -0.6, -0.2], dtype=torch.float64)
    difference = gpo(policy - 0.7, None, advantages).loss.sum() - gpo(policy, None, advantages).loss.sum()
    assert difference.item() == pytest.approx(0.0, abs=1e-12)


def test_guard_stops_what_left_the_old_error() -> None:
    # Old errors are all 1, guard .1. Pulled in (A > 0): .95 is within, .85 has left downwards, 1.2 moved the wrong way
    # and may come back. Pushed away (A < 0): 1.05 is within, 1.15 has left upwards, .8 moved the wrong way.
    policy = -torch.tensor([0.95, 0.85, 1.2, 1.05, 1.15, 0.8])
    policy.requires_grad_(True)
    advantages = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    output = gpo(policy, -torch.ones(6), advantages, guard=0.1)
    assert torch.equal(output.loss, gpo(policy, None, advantages).loss)  # the value stays
    output.loss.sum().backward()
    assert policy.grad.tolist() == [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]
    assert output.metrics["guard/stopped"].item() == pytest.approx(2 / 6)


def test_guard_is_relative_to_the_old_error() -> None:
    # A move of .02 is 20 % of .1 and 2 % of 1.
    policy = -torch.tensor([0.12, 1.02])
    output = gpo(policy, -torch.tensor([0.1, 1.0]), torch.tensor([-1.0, -1.0]), guard=0.05)
    assert output.metrics["guard/stopped"].item() == pytest.approx(0.5)


def test_guard_at_the_old_policy_changes_nothing() -> None:
    policy = torch.tensor([-0.3, -0.6, -0.2], requires_grad=True)
    advantages = torch.tensor([1.5, -0.5, -1.0])
    (plain,) = torch.autograd.grad(gpo(policy, None, advantages).loss.sum(), policy)
    (guarded,) = torch.autograd.grad(gpo(policy, policy.detach(), advantages, guard=0.02).loss.sum(), policy)
    assert torch.equal(plain, guarded)


def test_old_without_guard_is_unused() -> None:
    policy, advantages = torch.tensor([-0.3, -0.6]), torch.tensor([1.0, -1.0])
    assert torch.equal(gpo(policy, torch.full((2,), torch.nan), advantages).loss, gpo(policy, None, advantages).loss)


def test_guard_without_old_says_so() -> None:
    with pytest.raises(ValueError, match="got no old log-likelihoods"):
        gpo(torch.tensor([-0.3]), None, torch.tensor([1.0]), guard=0.1)


def test_a_side_without_candidates_is_not_a_zero() -> None:
    assert math.isnan(gpo(torch.tensor([-0.3]), None, torch.tensor([1.0])).metrics["error/below"].item())
