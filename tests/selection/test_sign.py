"""The sign of a reward's deviation, with rounding kept out of it."""

import torch

from selfportrait.selection.sign import sign


def test_value_by_hand() -> None:
    # Mean of 0, 0, 0, 4 is 1; mean of 0, 1, 2 is 1, so the middle one is on it.
    assert sign(torch.tensor([[0.0, 0.0, 0.0, 4.0]])).advantages.tolist() == [[-1, -1, -1, 1]]
    assert sign(torch.tensor([[0.0, 1.0, 2.0]])).advantages.tolist() == [[-1, 0, 1]]


def test_rounding_does_not_decide() -> None:
    # In float64 the mean of .1, .2, .3 is .20000000000000004: a bare sign would push .2 away.
    assert sign(torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)).advantages.tolist() == [[-1, 0, 1]]


def test_missing_and_equal_rewards() -> None:
    advantages, keep = sign(torch.tensor([[torch.nan, 0.0, 1.0], [0.5, 0.5, 0.5]]))
    assert advantages.tolist() == [[0, -1, 1], [0, 0, 0]]
    assert keep.tolist() == [True, False]
