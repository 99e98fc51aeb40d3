"""Standardised rewards against numbers from the published methods, and the groups that say nothing."""

import pytest
import torch

from selfportrait.selection.standardize import standardize


def test_value_by_hand() -> None:
    # Mean 1, population variance (1 + 0 + 0 + 1) / 4 = 1/2; the sample std would give -1.2247.
    advantages, keep = standardize(torch.tensor([[0.0, 1.0, 1.0, 2.0]], dtype=torch.float64))
    assert advantages[0].tolist() == pytest.approx([-(2**0.5), 0.0, 0.0, 2**0.5])
    assert keep.tolist() == [True]


def test_agrees_with_flow_grpo_up_to_its_epsilon() -> None:
    # Flow-GRPO divides by std + 1e-4; its reference values for these rewards:
    expected = [-1.40167394, 0.57715986, -0.41225704, 1.23677112]
    rewards = torch.tensor([[0.2, 0.8, 0.5, 1.0]], dtype=torch.float64)
    std = rewards.std(correction=0).item()
    assert (standardize(rewards).advantages[0] * std / (std + 1e-4)).tolist() == pytest.approx(expected, abs=2e-6)


def test_a_group_without_spread_is_left_out() -> None:
    advantages, keep = standardize(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    assert keep.tolist() == [False]
    assert advantages.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_the_limit_of_spread() -> None:
    base = torch.zeros(1, 3, dtype=torch.float64)
    near, far = base.clone(), base.clone()
    near[0, 0], far[0, 0] = 1e-8, 1.1e-8
    assert standardize(near).keep.tolist() == [False]
    assert standardize(far).keep.tolist() == [True]


def test_small_rewards_are_not_shrunk() -> None:
    # An epsilon of 1e-4 would halve these; the z-scores of 0, 1 at any scale are -1, 1.
    assert standardize(torch.tensor([[0.0, 2e-4]])).advantages[0].tolist() == pytest.approx([-1.0, 1.0])


def test_one_hit_in_a_group_of_32() -> None:
    # Mean 1/32, std sqrt(31)/32: the hit gets sqrt 31 = 5.5678, every other -1/sqrt 31 = -.1796.
    rewards = torch.zeros(1, 32)
    rewards[0, 3] = 1.0
    advantages = standardize(rewards).advantages[0]
    assert advantages[3].item() == pytest.approx(5.5678, abs=1e-4)
    assert advantages[0].item() == pytest.approx(-0.1796, abs=1e-4)


def test_a_missing_reward_enters_nothing() -> None:
    with_missing = standardize(torch.tensor([[torch.nan, 0.0, 1.0, 1.0, 2.0]]))
    assert with_missing.advantages[0].tolist() == pytest.approx([0.0, -(2**0.5), 0.0, 0.0, 2**0.5])


@pytest.mark.parametrize("rewards", [[torch.nan, torch.nan], [torch.nan, 0.7]])
def test_a_group_of_fewer_than_two_rewards_is_left_out(rewards: list[float]) -> None:
    advantages, keep = standardize(torch.tensor([rewards]))
    assert keep.tolist() == [False]
    assert advantages.tolist() == [[0.0, 0.0]]


def test_mean_zero_and_unit_std_in_float32() -> None:
    advantages = standardize(1000 + torch.rand(5, 32, generator=torch.Generator().manual_seed(0))).advantages
    assert torch.allclose(advantages.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(advantages.std(1, correction=0), torch.ones(5), atol=1e-6)


@pytest.mark.parametrize("rewards", [torch.tensor([[0.0, torch.inf]]), torch.zeros(3)])
def test_what_cannot_be_standardised_is_said(rewards: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected \\(prompts, candidates\\) of finite numbers"):
        standardize(rewards)
