"""SPO against numbers derived by hand: inside the band it is DPO, outside nothing moves."""

import math

import pytest
import torch
from pair_cases import pair, random_pairs

from selfportrait.losses.dpo import dpo
from selfportrait.losses.spo import spo


def test_value_by_hand() -> None:
    # Log-ratios .02 (inside the band) and -.2, which the band ends at log .9 = -.105361: z = 10 * .125361.
    output = spo(pair(-1.0, -1.3), pair(-1.02, -1.1), beta=10.0, clip=0.1)
    assert output.loss.item() == pytest.approx(math.log1p(math.exp(-10 * (0.02 - math.log(0.9)))), abs=1e-6)
    assert output.metrics["clipped"].item() == 0.5
    assert output.metrics["reward/margin"].item() == pytest.approx(2.2)  # of log-ratios that are not clipped


def test_inside_the_band_it_is_dpo() -> None:
    reference = random_pairs(5, seed=0)
    policy = reference._replace(chosen=reference.chosen + 0.05, rejected=reference.rejected - 0.05)
    assert torch.allclose(spo(policy, reference, beta=3.0).loss, dpo(policy, reference, beta=3.0).loss)


@pytest.mark.parametrize(("two_sided", "learns"), [(True, False), (False, True)])
def test_a_chosen_that_got_much_worse(two_sided: bool, learns: bool) -> None:
    policy = pair(-2.0, -1.0)
    policy.chosen.requires_grad_(True)
    spo(policy, pair(-1.0, -1.0), two_sided=two_sided).loss.sum().backward()
    assert (policy.chosen.grad.item() != 0) is learns


def test_what_went_far_enough_is_left_alone() -> None:
    for two_sided in (True, False):
        policy = pair(0.0, -2.0)
        policy.chosen.requires_grad_(True)
        policy.rejected.requires_grad_(True)
        spo(policy, pair(-1.0, -1.0), two_sided=two_sided).loss.sum().backward()
        assert policy.chosen.grad.item() == policy.rejected.grad.item() == 0


def test_at_the_reference_it_is_log_2() -> None:
    policy = random_pairs(3, seed=0)
    assert spo(policy, policy).loss.tolist() == pytest.approx([math.log(2)] * 3)
