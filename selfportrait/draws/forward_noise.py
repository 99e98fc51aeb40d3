"""Noise added to the clean latent at a shifted random timestep, shared by the candidates of a group.

Read this to see at which noise levels a diffusion or flow model is compared with itself.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from selfportrait.types import Draw

__all__ = ["forward_noise"]

Distribution = Literal["uniform", "logit_normal"]
Band = Literal["all", "high", "low"]


def forward_noise(
    latents: torch.Tensor,
    generator: torch.Generator,
    *,
    shift: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0,
    distribution: Distribution = "uniform",
    band: Band = "all",
    shared: bool = True,
) -> Draw:
    """Draw one noise level and one noise a group (`shared`) or a candidate, the levels shifted as in SD3.

    A time u in (0, 1] is uniform or logit-normal(0, 1) and becomes sigma = shift u / (1 + (shift - 1) u), so shift 3
    puts half of the draws above sigma 0.75. `band` restricts u before the shift: "low" to at most 0.5, "high" to at
    least 0.5. With `shared`, all G candidates of a group get the same sigma and noise as expanded views: advantages
    sum to zero, so what the draw adds to every error cancels.

    Shapes: latents (P, G, ...); returns sigma (P, G) and noise (P, G, ...), float32 on the latents' device.
    Source: Eq. 5 of https://arxiv.org/abs/2505.11070 (one noise a group); Eq. 23 of https://arxiv.org/abs/2403.03206.
    """
    num_prompts, group_size, *element = latents.shape
    lead = (num_prompts, 1 if shared else group_size)
    sigma = shifted(times(lead, generator, distribution, band), shift)  # (P, 1 or G)
    noise = torch.randn(*lead, *element, generator=generator)  # (P, 1 or G, ...)
    return Draw(
        sigma.to(latents.device).expand(num_prompts, group_size),
        noise.to(latents.device).expand(num_prompts, group_size, *element),
    )


def times(shape: tuple[int, ...], generator: torch.Generator, distribution: Distribution, band: Band) -> torch.Tensor:
    """Draw u in (0, 1], restricted to a band by folding at 0.5, which keeps the distribution within the band."""
    if distribution == "logit_normal":
        logits = torch.randn(shape, generator=generator)
        return torch.sigmoid({"all": logits, "high": logits.abs(), "low": -logits.abs()}[band])
    u = 1.0 - torch.rand(shape, generator=generator)  # torch.rand can return 0, at which there is no noise to predict
    return {"all": u, "high": 0.5 + u / 2, "low": u / 2}[band]


def shifted(u: torch.Tensor, shift: float) -> torch.Tensor:
    """Move times towards noise: sigma = shift u / (1 + (shift - 1) u)."""
    return shift * u / (1.0 + (shift - 1.0) * u)
