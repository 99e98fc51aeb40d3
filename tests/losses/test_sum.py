"""Sums of losses: OSPO's objective by hand, and which metrics they report."""

import functools

import pytest
import torch
from pair_cases import OBJECT, random_pairs

from selfportrait.losses.base import PairLogps, Term
from selfportrait.losses.dpo import dpo
from selfportrait.losses.sft import sft
from selfportrait.losses.simpo import simpo
from selfportrait.losses.sum import weighted_sum

OSPO = {"simpo": Term(functools.partial(simpo, beta=5.0, gamma=2.5)), "sft": Term(sft, 2.0)}


def test_value_by_hand() -> None:
    # .0153849 of weighted SimPO and 2 * 5 of the unweighted cross-entropy, see the tests of simpo and sft
    output = weighted_sum(OBJECT, None, terms=OSPO)
    assert output.loss.tolist() == pytest.approx([10.0153849], abs=1e-7)
    metrics = {name: value.item() for name, value in output.metrics.items()}
    assert metrics["loss/simpo"] == pytest.approx(0.0153849, abs=1e-7)
    assert metrics["loss/sft"] == pytest.approx(5.0)
    assert metrics["reward/margin"] == pytest.approx(20 / 3)
    assert metrics["logp/chosen"] == pytest.approx(-5.0)


def test_one_term_of_weight_1_is_that_loss() -> None:
    policy, reference = random_pairs(4, seed=0), random_pairs(4, seed=1)
    alone = dpo(policy, reference)
    output = weighted_sum(policy, reference, terms={"dpo": Term(dpo)})
    assert torch.equal(output.loss, alone.loss)
    assert output.metrics.items() >= alone.metrics.items()


def test_the_first_term_keeps_its_metrics() -> None:
    policy, reference = random_pairs(4, seed=0), random_pairs(4, seed=1)
    output = weighted_sum(policy, reference, terms={"simpo": Term(simpo), "dpo": Term(dpo)})
    assert output.metrics["reward/margin"] == simpo(policy, None).metrics["reward/margin"]


def test_gradients_add_up() -> None:
    # The chosen gets -beta / n sigmoid(-z) w_t from SimPO and -lambda / T from SFT; at z = 0 over 2 tokens of weight
    # 1 that is -5 / 2 / 2 - 2 / 2 = -2.25, the rejected only gets the first, turned round.
    chosen = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    rejected = torch.tensor([[-1.5, -1.5]], requires_grad=True)
    weighted_sum(PairLogps.from_tokens(chosen, rejected), None, terms=OSPO).loss.sum().backward()
    assert chosen.grad.tolist() == [[-2.25, -2.25]]
    assert rejected.grad.tolist() == [[1.25, 1.25]]
