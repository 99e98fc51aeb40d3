"""The arithmetic of DDPM and DDIM, x_t = a x_0 + s noise with a = sqrt(abar) and s = sqrt(1 - abar).

Read this with the table of parameterisations in mind; every function is pure, abar and abar_to are (B,), all else
(B, C, H, W). A prediction is of kind epsilon, the noise, or velocity, a noise - s x_0.
"""

from typing import Any, Literal, NamedTuple

import torch

from selfportrait.models.base import Transition

__all__ = [
    "Schedule",
    "ancestral",
    "as_velocity",
    "check_kind",
    "estimates",
    "noise_in",
    "noised",
    "schedule_of",
    "target",
]

Kind = Literal["epsilon", "velocity"]
KINDS: dict[object, Kind] = {"epsilon": "epsilon", "v_prediction": "velocity"}
ROUNDING = 1e-3  # of an index: float32 has k / T a little below or above it


class Schedule(NamedTuple):
    """The noise levels a model was trained at: abar (T,), what stands for clean, and what it predicts."""

    abar: torch.Tensor
    clean: torch.Tensor
    kind: Kind

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The timestep of sigma, a share of T: min(T - 1, floor(T sigma)), (B,)."""
        return (len(self.abar) * sigma + ROUNDING).floor().long().clamp(max=len(self.abar) - 1)

    def at(self, sigma: torch.Tensor) -> torch.Tensor:
        """abar at sigma, (B,) in float32; at sigma = 0 that of clean latents."""
        return torch.where(sigma == 0, self.clean, self.abar[self.timestep(sigma)])


def schedule_of(scheduler: Any, path: str) -> Schedule:
    """The schedule of a pipeline's scheduler; clean is abar at 0 unless the scheduler sets that to one."""
    abar = getattr(scheduler, "alphas_cumprod", None)
    if abar is None:
        raise ValueError(
            f"model.path = {path}: its scheduler, a {type(scheduler).__name__}, has no alphas_cumprod; "
            "give a pipeline with a scheduler of the DDPM family, such as DDIMScheduler"
        )
    for name in ("clip_sample", "thresholding"):
        if scheduler.config.get(name):
            raise ValueError(
                f"model.path = {path}: its scheduler has {name}, which bounds pixels and has no place on latents; "
                f"set {name} to false in scheduler/scheduler_config.json"
            )
    kind = check_kind(scheduler.config, path)
    return Schedule(abar.float(), torch.as_tensor(getattr(scheduler, "final_alpha_cumprod", abar[0])).float(), kind)


def check_kind(config: Any, path: str) -> Kind:
    """What a scheduler's configuration says that the model predicts, if it is something that can be trained on."""
    name = config.get("prediction_type", "epsilon")
    if name not in KINDS:
        raise ValueError(
            f"model.path = {path}: its scheduler has prediction_type = {name!r}, expected epsilon or v_prediction"
        )
    if name == "epsilon" and config.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"model.path = {path}: its scheduler has prediction_type = epsilon and rescale_betas_zero_snr, but pure "
            "noise and the noise in it tell nothing of the picture; give a model of prediction_type v_prediction, or "
            "set rescale_betas_zero_snr to false in scheduler/scheduler_config.json"
        )
    return KINDS[name]


def noised(latents: torch.Tensor, noise: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:
    """Mix clean latents with noise; with a model's estimates of both it is DDIM's step, up or down.

    Source: Eq. 12 of https://arxiv.org/abs/2010.02502, without random noise.
    """
    a, s = _coefficients(abar)
    return a * latents + s * noise


def noise_in(noisy: torch.Tensor, latents: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:
    """The noise that was mixed with clean latents, (x_t - a x_0) / s; there is none to tell at abar 1."""
    a, s = _coefficients(abar)
    return (noisy - a * latents) / s


def target(latents: torch.Tensor, noise: torch.Tensor, abar: torch.Tensor, kind: Kind) -> torch.Tensor:
    """What a perfect model predicts."""
    a, s = _coefficients(abar)
    return noise if kind == "epsilon" else a * noise - s * latents


def as_velocity(abar: torch.Tensor, kind: Kind) -> torch.Tensor:
    """How many times a squared error of the prediction is that of the velocity it stands for: (B,).

    From x_t and a noise follow x_0 = (x_t - s noise) / a and a noise - s x_0 = (noise - s x_t) / a; so it is 1 / a^2,
    which is 1 + 1 / SNR. It is what a model that predicts velocity is trained with.
    Source: Section 4 of https://arxiv.org/abs/2202.00512, where it is the weight SNR + 1 of an error of x_0.
    """
    return 1 / abar if kind == "epsilon" else torch.ones_like(abar)


def estimates(
    noisy: torch.Tensor, prediction: torch.Tensor, abar: torch.Tensor, kind: Kind
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clean latents and the noise that a prediction stands for."""
    a, s = _coefficients(abar)
    if kind == "epsilon":
        return (noisy - s * prediction) / a, prediction
    return a * noisy - s * prediction, a * prediction + s * noisy


def ancestral(
    latents: torch.Tensor, noise: torch.Tensor, abar: torch.Tensor, abar_to: torch.Tensor, eta: float = 1.0
) -> Transition:
    """The step down, abar_to > abar, of the stochastic sampler from its estimates.

    Equation: s = eta sqrt((1 - abar_to) / (1 - abar) (1 - abar / abar_to)),
    mean = sqrt(abar_to) x_0 + sqrt(1 - abar_to - s^2) noise, standard deviation s.
    Source: Eq. 12 and 16 of https://arxiv.org/abs/2010.02502; SPO's ddim_with_logprob.py at 27a8642.
    """
    std = eta * ((1 - abar_to) / (1 - abar) * (1 - abar / abar_to)).sqrt()  # (B,)
    rest = (1 - abar_to - std.square()).clamp(min=0).sqrt()
    return Transition(_wide(abar_to.sqrt()) * latents + _wide(rest) * noise, std)


def _coefficients(abar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _wide(abar.sqrt()), _wide((1 - abar).sqrt())


def _wide(coefficient: torch.Tensor) -> torch.Tensor:
    return coefficient[:, None, None, None]
