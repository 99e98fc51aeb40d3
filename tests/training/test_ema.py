"""The average against numbers by hand, and the model seen through it."""

import pytest
import torch
from torch import nn

from selfportrait.training.ema import EMA


def test_value_by_hand() -> None:
    # decay .9 from 1: towards 2 gives 1.1, towards 2 again 1.19
    ema = EMA({"w": torch.ones(2)}, decay=0.9)
    for expected in (1.1, 1.19):
        ema.update({"w": torch.full((2,), 2.0)})
        assert ema.state_dict()["w"].tolist() == pytest.approx([expected] * 2)


def test_decay_zero_follows_exactly() -> None:
    ema = EMA({"w": torch.randn(5)}, decay=0.0)
    weights = torch.randn(5)
    ema.update({"w": weights})
    assert torch.equal(ema.average["w"], weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swap_puts_the_average_in_and_the_same_bits_back(dtype: torch.dtype) -> None:
    parameters = {"w": nn.Parameter(torch.randn(5).to(dtype))}
    before, place = parameters["w"].detach().clone(), parameters["w"].data_ptr()
    ema = EMA({"w": torch.full((5,), 0.3)}, decay=0.5)
    with ema.swap(parameters):
        assert torch.equal(parameters["w"], torch.full((5,), 0.3).to(dtype))
        assert parameters["w"].data_ptr() == place
    assert torch.equal(parameters["w"], before)
    assert torch.equal(ema.average["w"], torch.full((5,), 0.3))


def test_swap_restores_after_an_error() -> None:
    parameters = {"w": nn.Parameter(torch.ones(2))}
    ema = EMA({"w": torch.zeros(2)}, decay=0.5)

    def fail() -> None:
        with ema.swap(parameters):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert parameters["w"].tolist() == [1.0, 1.0]


def test_the_average_is_its_own_memory() -> None:
    weights = torch.ones(2)
    ema = EMA({"w": weights}, decay=0.5)
    weights.zero_()
    assert ema.average["w"].tolist() == [1.0, 1.0]


def test_state_round_trip_and_misfit() -> None:
    ema = EMA({"w": torch.randn(3)}, decay=0.9)
    other = EMA({"w": torch.zeros(3)}, decay=0.9)
    other.load_state_dict(ema.state_dict())
    assert torch.equal(other.average["w"], ema.average["w"])
    with pytest.raises(ValueError, match=r"w has shape \(2,\), expected \(3,\)"):
        other.load_state_dict({"w": torch.zeros(2)})
    with pytest.raises(ValueError, match="v has shape"):
        other.load_state_dict({"w": torch.zeros(3), "v": torch.zeros(1)})


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_said(decay: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= decay < 1"):
        EMA({}, decay=decay)
