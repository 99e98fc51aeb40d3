"""Noise that the model itself finds in a picture, by running its deterministic sampler backwards.

Read this to see where InPO and IAPO take their log-likelihoods: each picture has a noise of its own, which leads to it.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated, Literal

import torch
from pydantic import Field

from selfportrait.draws.base import Rows, Steps
from selfportrait.draws.forward_noise import forward_noise
from selfportrait.types import Draw

__all__ = ["Inversion"]

LEGACY_STRIDE, LEGACY_LAST = 100, 901  # of a thousand timesteps


class Inversion:
    """Draw a noise level a group, as `forward_noise` does, and find each picture's noise by inverting the sampler.

    From the clean latent n = ceil(max_steps sigma) steps of the sampler lead up to sigma, all of one size, by the
    conditional prediction without guidance and without gradient. The noise is what then makes the noisy latent of the
    clean one: eps* = (x_t - a_t x_0) / s_t for a UNet, (x_t - (1 - t) x_0) / t for a flow model.

    `inverter` is the network that inverts: the policy as it is, or the reference. `grid` "legacy" is the published
    code's: it steps by 100 of 1000 timesteps to the first of 1, 101, ..., 901 that is not below t, tells the network
    the timestep that it comes from, -99 at first, and takes eps* at t although x is at the grid's.

    Source: Eq. 13-16 of https://arxiv.org/abs/2503.18454 (InPO), and its code at a9cfc4d for `grid: legacy`.
    Differs from the source: each pair of a batch has its own noise level, where the code has one a device; the code's
    noise of 0.1 standard deviations after each step is left out.
    """

    def __init__(
        self,
        policy: Steps,
        *,
        inverter: Literal["policy", "reference"] = "policy",
        max_steps: Annotated[int, Field(ge=1)] = 10,
        grid: Literal["exact", "legacy"] = "exact",
        shift: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
    ) -> None:
        self.policy, self.inverter, self.max_steps, self.grid, self.shift = policy, inverter, max_steps, grid, shift

    def __call__(self, latents: torch.Tensor, generator: torch.Generator) -> Draw:
        """Draw the noise levels (P, G) of latents (P, G, ...), one a group; the noise is a place for what is found."""
        return forward_noise(latents, generator, shift=self.shift)

    @torch.no_grad()
    def invert(self, latents: torch.Tensor, conditioning: Rows, sigma: torch.Tensor) -> torch.Tensor:
        """Find the noise (B, ...) of latents (B, ...) at levels sigma (B,), whatever they are, in common forwards."""
        noisy = latents.float().clone()  # steps are in float32, whatever latents are stored in
        steps = _legacy(sigma) if self.grid == "legacy" else _exact(sigma, self.max_steps)
        with self.policy.reference() if self.inverter == "reference" else nullcontext():
            for level, to, label, is_on in steps:
                rows = is_on.nonzero().squeeze(1)
                some = (noisy[rows], conditioning.rows(rows), level[rows], to[rows])
                noisy[rows] = self.policy.step(*some, label=None if label is None else label[rows])
        return self.policy.noise_in(noisy, latents, sigma)


Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]
"""Levels to come from and go to, what to tell the network instead of the first, and which rows take the step."""


def _exact(sigma: torch.Tensor, max_steps: int) -> Iterator[Step]:
    """Steps of one size a row, as many as its level needs; the last one ends at sigma itself."""
    count = (max_steps * sigma).ceil().clamp(min=1)  # (B,)
    for number in range(int(count.max())):
        to = torch.where(number + 1 < count, sigma * (number + 1) / count, sigma)
        yield sigma * number / count, to, None, number < count


def _legacy(sigma: torch.Tensor) -> Iterator[Step]:
    """The grid of the published code; a level is in the middle of its timestep, so that rounding cannot miss it."""
    timestep = (1000 * sigma).floor().clamp(max=999)
    for origin in range(1 - LEGACY_STRIDE, LEGACY_LAST, LEGACY_STRIDE):
        is_on = timestep > origin
        at, to, label = (
            torch.full_like(sigma, (value + 0.5) / 1000) for value in (max(origin, 0), origin + LEGACY_STRIDE, origin)
        )
        if is_on.any():
            yield at, to, label, is_on
