"""SimPO against numbers derived by hand: its margin, its lengths, and the object weights of OSPO."""

import math

import pytest
import torch
from pair_cases import OBJECT, pair, random_pairs

from selfportrait.losses.dpo import dpo
from selfportrait.losses.simpo import simpo


def loss(z: float) -> float:
    return math.log1p(math.exp(-z))


def test_value_by_hand() -> None:
    # Means -4 against -4.6: 5 * .6 - 2.5 = .5, log(1 + e^-.5) = .474077. Then -5.2 against -5: 5 * -.2 - 2.5 = -3.5,
    # log(1 + e^3.5) = 3.529750. The means are those of 10 tokens.
    first = simpo(pair(-40.0, -46.0, 10.0), None, beta=5.0, gamma=2.5)
    assert first.loss.tolist() == pytest.approx([0.47407698], abs=1e-8)
    assert first.metrics["reward/margin"].item() == pytest.approx(3.0)
    assert first.metrics["reward/chosen"].item() == pytest.approx(-20.0)
    assert first.metrics["logp/chosen"].item() == pytest.approx(-4.0)
    second = simpo(pair(-52.0, -50.0, 10.0), None, beta=5.0, gamma=2.5)
    assert second.loss.tolist() == pytest.approx([3.52975042], abs=1e-8)
    assert second.metrics["reward/accuracy"].item() == 0.0


def test_label_smoothing_by_hand() -> None:
    # -log sigmoid(-z) = z - log sigmoid(z): smoothing adds s z, here .1 * .5.
    output = simpo(pair(-4.0, -4.6), None, beta=5.0, gamma=2.5, label_smoothing=0.1)
    assert output.loss.tolist() == pytest.approx([0.47407698 + 0.05], abs=1e-8)


def test_object_weights_by_hand() -> None:
    # Weighted means -26/6 and -34/6: z = 5 * 8/6 - 2.5 = 25/6, log(1 + e^(-25/6)) = .015385.
    output = simpo(OBJECT, None, beta=5.0, gamma=2.5)
    assert output.loss.tolist() == pytest.approx([0.0153849], abs=1e-7)
    assert output.loss.tolist() == pytest.approx([loss(25 / 6)])
    assert output.metrics["logp/chosen"].item() == pytest.approx(-5.0)  # whatever the weights


def test_division_by_the_number_of_tokens_by_hand() -> None:
    # -26/4 = -6.5 and -34/4 = -8.5: z = 5 * 2 - 2.5 = 7.5, log(1 + e^-7.5) = .000553.
    output = simpo(OBJECT, None, beta=5.0, gamma=2.5, divide_by="tokens")
    assert output.loss.tolist() == pytest.approx([0.00055293], abs=1e-8)
    plain = random_pairs(4, seed=0).plain
    assert torch.equal(simpo(plain, None, divide_by="tokens").loss, simpo(plain, None).loss)


def test_only_the_mean_division_ignores_how_much_is_masked() -> None:
    # Every token is equally likely, -6; the chosen has weight 2 on 3 of 10 tokens, the rejected on 1 of 10.
    # Divided by the weight the rewards are equal; divided by 10 they are -7.8 and -6.6, a margin of -1.2.
    tokens = pair(-6.0 * 13, -6.0 * 11)._replace(
        chosen_length=torch.tensor([13.0]), rejected_length=torch.tensor([11.0]), unweighted=pair(-60.0, -60.0, 10.0)
    )
    assert simpo(tokens, None, beta=1.0).metrics["reward/margin"].item() == pytest.approx(0.0)
    by_tokens = simpo(tokens, None, beta=1.0, divide_by="tokens")
    assert by_tokens.metrics["reward/margin"].item() == pytest.approx(-1.2)


def test_equal_rewards_leave_the_target_margin() -> None:
    # log(1 + e^2.5) = 2.578890, whatever beta
    assert simpo(pair(-4.0, -4.0), None, beta=9.0, gamma=2.5).loss.tolist() == pytest.approx([2.57888973], abs=1e-8)


def test_without_target_margin_it_is_dpo_with_a_constant_reference() -> None:
    policy = random_pairs(4, seed=1).plain
    constant = policy._replace(chosen=torch.zeros(4), rejected=torch.zeros(4))
    expected = dpo(policy, constant, beta=0.5).loss  # sums of 6 tokens: beta a token is 6 times as large
    assert torch.allclose(simpo(policy, None, beta=3.0, gamma=0.0).loss, expected)


def test_gradient_by_hand() -> None:
    # dL / dp_c = -beta / n_c sigmoid(-z): with z = 0 it is -5 / 10 / 2 = -.25, the opposite for the rejected.
    policy = pair(-40.0, -45.0, 10.0)
    policy.chosen.requires_grad_(True)
    policy.rejected.requires_grad_(True)
    simpo(policy, None, beta=5.0, gamma=2.5).loss.sum().backward()
    assert policy.chosen.grad.tolist() == pytest.approx([-0.25])
    assert policy.rejected.grad.tolist() == pytest.approx([0.25])
