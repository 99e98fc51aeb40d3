"""The arithmetic of flow matching, x_t = (1 - sigma) x_0 + sigma noise, whose velocity is noise - x_0.

Read this with the table of parameterisations in mind; every function is pure, sigma and to are (B,), all else
(B, C, H, W).
"""

import torch

from selfportrait.models.base import Transition

__all__ = ["estimates", "euler", "noise_in", "noised", "sde"]

NOISE_LEVEL = 0.7  # a of Flow-GRPO


def noised(latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Mix clean latents with noise."""
    return torch.lerp(latents, noise, _level(sigma).to(latents.dtype))


def noise_in(noisy: torch.Tensor, latents: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The noise that was mixed with clean latents; there is none to tell at sigma 0."""
    return (noisy - (1 - _level(sigma)) * latents) / _level(sigma)


def estimates(noisy: torch.Tensor, velocity: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The clean latents and the noise that a velocity stands for."""
    return noisy - _level(sigma) * velocity, noisy + (1 - _level(sigma)) * velocity


def euler(noisy: torch.Tensor, velocity: torch.Tensor, sigma: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    """The sampler's step along a velocity, up or down."""
    return noisy + _level(to - sigma) * velocity


def sde(noisy: torch.Tensor, velocity: torch.Tensor, sigma: torch.Tensor, to: torch.Tensor) -> Transition:
    """The step down, to < sigma, of the stochastic sampler that has the same marginals.

    Equation: s = a sqrt(sigma / (1 - sigma)), dt = to - sigma < 0, mean = x (1 + s^2 dt / (2 sigma))
    + v (1 + s^2 (1 - sigma) / (2 sigma)) dt, standard deviation s sqrt(-dt); a = 0.7.
    At sigma = 1 the denominator takes `to`, which is the first level below 1.
    Source: Flow-GRPO, https://arxiv.org/abs/2505.05470; its sd3_sde_with_logprob.py at ac4c86e.
    """
    below = torch.where(sigma == 1, to, sigma)
    spread = NOISE_LEVEL * (sigma / (1 - below)).sqrt()  # (B,)
    change = to - sigma
    drift = spread.square() / (2 * sigma)
    mean = noisy * _level(1 + drift * change) + velocity * _level((1 + drift * (1 - sigma)) * change)
    return Transition(mean, spread * (-change).sqrt())


def _level(sigma: torch.Tensor) -> torch.Tensor:
    return sigma[:, None, None, None]
