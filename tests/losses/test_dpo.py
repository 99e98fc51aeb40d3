"""DPO against numbers derived by hand, its limits and symmetries, and Diffusion-DPO as the same loss."""

import math

import pytest
import torch
from pair_cases import pair, random_pairs

from selfportrait.losses.base import PairLogps
from selfportrait.losses.dpo import dpo


def test_value_by_hand() -> None:
    # Log-ratios 1 and -1, so z = .2 * 2 = .4 and -log sigmoid(.4) = log(1 + e^-.4) = log 1.670320 = .513015.
    output = dpo(pair(-100.0, -105.0, 5.0), pair(-101.0, -104.0, 5.0), beta=0.2)
    assert output.loss.tolist() == pytest.approx([0.51301525], abs=1e-8)
    metrics = {name: value.item() for name, value in output.metrics.items()}
    assert metrics["reward/chosen"] == pytest.approx(0.2)
    assert metrics["reward/rejected"] == pytest.approx(-0.2)
    assert metrics["reward/margin"] == pytest.approx(0.4)
    assert metrics["reward/accuracy"] == 1.0
    assert metrics["logp/chosen"] == pytest.approx(-20.0)  # -100 over 5 tokens
    assert metrics["logp/rejected"] == pytest.approx(-21.0)


def test_label_smoothing_by_hand() -> None:
    # -log sigmoid(-z) = z - log sigmoid(z), so smoothing s adds s z = .1 * .4.
    output = dpo(pair(-100.0, -105.0), pair(-101.0, -104.0), beta=0.2, label_smoothing=0.1)
    assert output.loss.tolist() == pytest.approx([0.55301525], abs=1e-8)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_at_the_reference_it_is_log_2(label_smoothing: float) -> None:
    policy = random_pairs(5, seed=0)
    output = dpo(policy, policy, beta=2500.0, label_smoothing=label_smoothing)
    assert output.loss.tolist() == pytest.approx([math.log(2)] * 5)
    assert output.metrics["reward/accuracy"].item() == 0.5  # ties count half


def test_swapping_chosen_and_rejected_turns_the_margin_round() -> None:
    # log sigmoid(z) - log sigmoid(-z) = z
    policy, reference = pair(-3.0, -4.0), pair(-3.5, -3.0)
    swapped = dpo(pair(-4.0, -3.0), pair(-3.0, -3.5), beta=0.7)
    output = dpo(policy, reference, beta=0.7)
    assert swapped.metrics["reward/margin"] == -output.metrics["reward/margin"]
    assert (swapped.loss - output.loss).item() == pytest.approx(output.metrics["reward/margin"].item())


def test_gradient_by_hand() -> None:
    # dL / dp_c = -beta sigmoid(-z), and the opposite for the rejected; at the reference sigmoid is 1/2.
    policy = pair(-3.0, -4.0)
    policy.chosen.requires_grad_(True)
    policy.rejected.requires_grad_(True)
    dpo(policy, pair(-3.0, -4.0), beta=0.5).loss.sum().backward()
    assert policy.chosen.grad.tolist() == [-0.25]
    assert policy.rejected.grad.tolist() == [0.25]


def test_diffusion_dpo_is_this_at_half_its_beta() -> None:
    # Mean squared errors .9 and .95 against .92 and .94 of the reference, beta 100 with the half inside:
    # -50 ((.9 - .92) - (.95 - .94)) = 1.5, and log(1 + e^-1.5) = .201413.
    output = dpo(pair(-0.9, -0.95), pair(-0.92, -0.94), beta=50.0)
    assert output.metrics["reward/margin"].item() == pytest.approx(1.5)
    assert output.loss.tolist() == pytest.approx([0.20141328], abs=1e-8)


def test_half_precision_is_subtracted_in_float32() -> None:
    # Next to -1 bfloat16 steps by 1/128, float32 does not: log-ratios -1/128 + 1/1024 and 1/1024, margin -1/128.
    policy = PairLogps(*(torch.tensor([value], dtype=torch.bfloat16) for value in (-1 - 1 / 128, -1.0, 1.0, 1.0)))
    reference = PairLogps(*(torch.tensor([value]) for value in (-1 - 1 / 1024, -1 - 1 / 1024, 1.0, 1.0)))
    output = dpo(policy, reference, beta=1.0)
    assert output.loss.dtype is torch.float32
    assert output.metrics["reward/chosen"].item() == pytest.approx(-7 / 1024)
    assert output.metrics["reward/margin"].item() == pytest.approx(-1 / 128)
