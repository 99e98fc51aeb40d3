"""The arithmetic between noise levels, with numbers derived by hand: DDPM and DDIM, flow matching, transitions."""

import inspect
import math
from functools import cached_property

import pytest
import torch

from selfportrait.models import _ddim, _flow
from selfportrait.models.base import Denoises, transition_logp
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3

LATENT, NOISE, OFF = (torch.tensor(pair).view(1, 1, 1, 2) for pair in ([1.0, -2.0], [0.5, 0.25], [0.1, -0.2]))


@pytest.mark.parametrize("family", [SD, SD3])
def test_who_denoises_takes_what_the_protocol_says(family: type) -> None:
    for name in (name for name in dir(Denoises) if not name.startswith("_")):
        expected, found = getattr(Denoises, name), getattr(family, name, None)
        if callable(expected):
            assert list(inspect.signature(found).parameters) == list(inspect.signature(expected).parameters), name
        else:
            assert name == "picture_size"
            assert isinstance(found, cached_property)
    assert family.is_exact is False


def close(found: torch.Tensor, expected: list[float]) -> bool:
    return found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_a_velocity_stands_for_latents_and_noise() -> None:
    abar = torch.tensor([0.64])  # a = 0.8, s = 0.6
    noisy = _ddim.noised(LATENT, NOISE, abar)
    assert close(noisy, [0.8 + 0.3, -1.6 + 0.15])
    velocity = _ddim.target(LATENT, NOISE, abar, "velocity")
    assert close(velocity, [0.4 - 0.6, 0.2 + 1.2])
    latents, noise = _ddim.estimates(noisy, velocity + OFF, abar, "velocity")
    assert close(latents, [1 - 0.6 * 0.1, -2 + 0.6 * 0.2])
    assert close(noise, [0.5 + 0.8 * 0.1, 0.25 - 0.8 * 0.2])


def test_a_noise_stands_for_latents() -> None:
    abar = torch.tensor([0.64])
    assert _ddim.target(LATENT, NOISE, abar, "epsilon") is NOISE
    latents, noise = _ddim.estimates(_ddim.noised(LATENT, NOISE, abar), NOISE + OFF, abar, "epsilon")
    assert close(latents, [1 - 0.75 * 0.1, -2 + 0.75 * 0.2])
    assert close(noise, [0.6, 0.05])
    assert close(_ddim.noise_in(_ddim.noised(LATENT, NOISE, abar), LATENT, abar), [0.5, 0.25])


def test_a_flow_stands_for_latents_and_noise() -> None:
    sigma = torch.tensor([0.3])
    noisy = _flow.noised(LATENT, NOISE, sigma)
    assert close(noisy, [0.7 + 0.15, -1.4 + 0.075])
    latents, noise = _flow.estimates(noisy, NOISE - LATENT + OFF, sigma)
    assert close(latents, [1 - 0.03, -2 + 0.06])
    assert close(noise, [0.5 + 0.07, 0.25 - 0.14])
    assert close(_flow.noise_in(noisy, LATENT, sigma), [0.5, 0.25])
    assert close(_flow.euler(noisy, NOISE - LATENT, sigma, torch.tensor([1.0])), [0.5, 0.25])
    assert close(_flow.euler(noisy, NOISE - LATENT, sigma, torch.tensor([0.0])), [1.0, -2.0])


def test_the_ancestral_step() -> None:
    """From abar 0.36 to 0.64: s^2 = 0.36 / 0.64 (1 - 0.36 / 0.64) = 0.24609375, and 0.36 - s^2 = 0.3375^2."""
    mean, std = _ddim.ancestral(LATENT, NOISE, torch.tensor([0.36]), torch.tensor([0.64]))
    assert close(std, [0.24609375**0.5])
    assert close(mean, [0.8 * 1 + 0.3375 * 0.5, 0.8 * -2 + 0.3375 * 0.25])


def test_without_random_noise_the_ancestral_step_is_ddims() -> None:
    abar, abar_to = torch.tensor([0.36]), torch.tensor([0.64])
    mean, std = _ddim.ancestral(LATENT, NOISE, abar, abar_to, eta=0.0)
    assert torch.equal(mean, _ddim.noised(LATENT, NOISE, abar_to))
    assert std.item() == 0


def test_the_step_of_the_flow_with_noise() -> None:
    """From 0.5 to 0.4: s^2 = 0.49, s^2 dt / (2 sigma) = -0.049, s^2 (1 - sigma) / (2 sigma) = 0.245."""
    mean, std = _flow.sde(LATENT, NOISE, torch.tensor([0.5]), torch.tensor([0.4]))
    assert close(std, [0.7 * 0.1**0.5])
    assert close(mean, [0.951 * 1 - 0.1245 * 0.5, 0.951 * -2 - 0.1245 * 0.25])


def test_from_pure_noise_the_flow_takes_the_level_below() -> None:
    """s^2 = 0.49 / (1 - 0.9) = 4.9 and 1 - sigma = 0: mean = x (1 - 4.9 0.1 / 2) - 0.1 v, std = sqrt(4.9 0.1)."""
    mean, std = _flow.sde(LATENT, NOISE, torch.tensor([1.0]), torch.tensor([0.9]))
    assert close(std, [0.7])
    assert close(mean, [0.755 * 1 - 0.1 * 0.5, 0.755 * -2 - 0.1 * 0.25])


def test_the_density_of_a_step_is_averaged_over_its_elements() -> None:
    mean, std = torch.zeros(2, 1, 1, 2), torch.tensor([0.5, 1.0])
    found = transition_logp(torch.tensor([[0.5, -1.0], [0.0, 0.0]]).view(2, 1, 1, 2), mean, std)
    constant = math.log(2 * math.pi) / 2
    # one and two standard deviations away: -(1 + 4) / 2 / 2 - log 0.5
    assert found.tolist() == pytest.approx([-1.25 - math.log(0.5) - constant, -constant])


def test_the_density_of_a_step_without_noise_is_finite_and_in_float32() -> None:
    mean = torch.zeros(1, 1, 1, 2, dtype=torch.bfloat16)
    found = transition_logp(mean, mean, torch.zeros(1))
    assert found.dtype is torch.float32
    assert found.item() == pytest.approx(-math.log(1e-4) - math.log(2 * math.pi) / 2)
