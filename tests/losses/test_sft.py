"""Supervised fine-tuning: the mean over the chosen's tokens, without weights and without the rejected."""

import pytest
import torch
from pair_cases import OBJECT, pair

from selfportrait.losses.base import PairLogps
from selfportrait.losses.sft import sft


def test_value_by_hand() -> None:
    # (2 + 4 + 6 + 8) / 4 = 5; the weighted mean would be 26 / 6.
    output = sft(OBJECT, None)
    assert output.loss.tolist() == pytest.approx([5.0])
    assert output.metrics["logp/chosen"].item() == pytest.approx(-5.0)
    assert output.metrics["logp/rejected"].item() == pytest.approx(-5.25)


def test_of_a_diffusion_model_it_is_the_error() -> None:
    assert sft(pair(-0.3, -0.7), None).loss.tolist() == pytest.approx([0.3])


def test_every_token_of_the_chosen_and_none_of_the_rejected_has_gradient() -> None:
    chosen, rejected = (torch.full((1, 4), -1.0, requires_grad=True) for _ in range(2))
    weights = torch.tensor([[2.0, 1.0, 1.0, 1.0]])
    sft(PairLogps.from_tokens(chosen, rejected, weights, weights), None).loss.sum().backward()
    assert chosen.grad.tolist() == [[-0.25] * 4]
    assert rejected.grad is None or not rejected.grad.any()
