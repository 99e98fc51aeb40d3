"""Reward-weighted regression against numbers derived by hand, alone and as what the loss gpo makes of it."""

import math

import pytest
import torch

from selfportrait.losses.gpo import gpo
from selfportrait.selection.softmax import softmax


def test_value_by_hand() -> None:
    # z-scores -1 and 1 at temperature 2: e^.5 / (e^.5 + e^-.5) = .7311 of the weight for the better, twice that.
    advantages, keep = softmax(torch.tensor([[0.0, 4.0]], dtype=torch.float64), temperature=2.0)
    better = 1 / (1 + math.exp(-1))
    assert advantages[0].tolist() == pytest.approx([2 * (1 - better), 2 * better])
    assert keep.tolist() == [True]


def test_a_missing_reward_has_no_weight() -> None:
    advantages = softmax(torch.tensor([[0.0, torch.nan, 1.0]], dtype=torch.float64)).advantages[0]
    assert advantages[1] == 0
    assert advantages.sum().item() == pytest.approx(3.0)


def test_cold_it_is_fine_tuning_on_the_best() -> None:
    rewards = torch.tensor([[0.2, 0.9, 0.5, 0.8]])
    error = torch.tensor([[0.5, 0.2, 0.4, 0.3]])
    loss = gpo(-error, None, softmax(rewards, temperature=1e-3).advantages).loss
    assert loss.mean().item() == pytest.approx(0.2)
