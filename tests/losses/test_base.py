"""What a loss for pairs sees, and whether it needs a reference."""

import functools

import pytest
import torch
from pair_cases import OBJECT

from selfportrait.losses.base import PairLogps, Term, needs_reference
from selfportrait.losses.dpo import dpo
from selfportrait.losses.ipo import ipo
from selfportrait.losses.sft import sft
from selfportrait.losses.simpo import simpo
from selfportrait.losses.sum import weighted_sum


def test_tokens_are_contracted_with_both_weightings_at_once() -> None:
    # derived in pair_cases.py
    assert [value.tolist() for value in OBJECT[:4]] == [[-26.0], [-34.0], [6.0], [6.0]]
    assert [value.tolist() for value in OBJECT.plain[:4]] == [[-20.0], [-21.0], [4.0], [4.0]]


def test_without_weights_the_pairs_are_their_own_plain_ones() -> None:
    logps = PairLogps.from_tokens(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-3.0, -4.0]]))
    assert logps.plain is logps
    assert [value.tolist() for value in logps[:4]] == [[-3.0], [-7.0], [2.0], [2.0]]


def test_tokens_are_summed_in_float32() -> None:
    # in bfloat16 a sum of 576 times -9 stops growing in steps of 9 above 2048
    tokens = torch.full((1, 576), -9.0, dtype=torch.bfloat16)
    logps = PairLogps.from_tokens(tokens, tokens)
    assert logps.chosen.dtype is torch.float32
    assert logps.chosen.item() == -5184.0


@pytest.mark.parametrize(("loss", "needed"), [(dpo, True), (ipo, True), (simpo, False), (sft, False)])
def test_a_loss_says_whether_it_needs_a_reference(loss, needed: bool) -> None:
    assert needs_reference(loss) is needed
    assert needs_reference(functools.partial(loss)) is needed
    for_all = functools.partial(weighted_sum, terms={"sft": Term(sft, 2.0), "other": Term(loss)})
    assert needs_reference(for_all) is needed
