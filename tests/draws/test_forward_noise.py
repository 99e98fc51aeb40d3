"""Shifted timesteps against the published numbers, and what a group shares."""

import pytest
import torch

from selfportrait.draws.forward_noise import forward_noise, shifted, times

LATENTS = torch.zeros(3, 4, 2, 5, 5)


def draw(seed: int = 0, latents: torch.Tensor = LATENTS, **settings):
    return forward_noise(latents, torch.Generator().manual_seed(seed), **settings)


def test_shift_by_hand() -> None:
    # sigma = 3u / (1 + 2u): .3 / 1.2, 1.5 / 2, 2.7 / 2.8
    u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert shifted(u, 3.0).tolist() == pytest.approx([0.25, 0.75, 0.96428571], abs=1e-8)
    assert torch.floor(1000 * shifted(u, 3.0)).tolist() == [250, 750, 964]
    assert torch.equal(shifted(u, 1.0), u)


def test_logit_normal_then_shift() -> None:
    z = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    assert shifted(torch.sigmoid(z), 3.0).tolist() == pytest.approx([0.52463311, 0.75, 0.89076823], abs=1e-8)


def test_agrees_with_the_sampler_of_sd3() -> None:
    scheduling = pytest.importorskip("diffusers").FlowMatchEulerDiscreteScheduler(shift=3.0)
    u = torch.arange(1000, 0, -1) / 1000
    assert torch.allclose(shifted(u, 3.0), scheduling.sigmas, atol=1e-6)


def test_a_group_shares_its_draw_without_a_copy() -> None:
    found = draw()
    for tensor in found:
        assert torch.equal(tensor, tensor[:, :1].expand_as(tensor))
        assert tensor.stride(1) == 0
    assert found.sigma[:, 0].unique().numel() == 3
    assert not torch.equal(found.noise[0], found.noise[1])


def test_a_candidate_can_have_its_own() -> None:
    found = draw(shared=False)
    assert found.sigma.unique().numel() == 12
    assert not torch.equal(found.noise[0, 0], found.noise[0, 1])


@pytest.mark.parametrize("distribution", ["uniform", "logit_normal"])
@pytest.mark.parametrize(("band", "low", "high"), [("all", 0.0, 1.0), ("high", 0.5, 1.0), ("low", 0.0, 0.5)])
def test_bands_restrict_the_time_before_the_shift(distribution: str, band: str, low: float, high: float) -> None:
    u = times((20000,), torch.Generator().manual_seed(0), distribution, band)
    assert u.min() >= low
    assert u.min() > 0
    assert u.max() <= high
    # folding keeps the distribution within the band: uniform quartiles at 1/4 of the way, logit-normal ones at
    # sigmoid(-+.674) = .3376, .6624 for all; sigmoid of the half-normal quartiles .3186 and 1.1503 for high
    quartiles = {
        ("uniform", "all"): (0.25, 0.75),
        ("uniform", "high"): (0.625, 0.875),
        ("uniform", "low"): (0.125, 0.375),
        ("logit_normal", "all"): (0.3376, 0.6624),
        ("logit_normal", "high"): (0.5790, 0.7596),
        ("logit_normal", "low"): (0.2404, 0.4210),
    }[distribution, band]
    assert torch.quantile(u, torch.tensor([0.25, 0.75])).tolist() == pytest.approx(quartiles, abs=0.015)


def test_half_of_the_draws_lie_above_three_quarters() -> None:
    sigma = draw(latents=torch.zeros(4000, 1, 1)).sigma
    assert (sigma > 0.75).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_noise_is_standard_and_float32_whatever_the_latents() -> None:
    found = draw(latents=torch.zeros(64, 2, 4, 8, 8, dtype=torch.bfloat16))
    assert found.noise.dtype == found.sigma.dtype == torch.float32
    assert found.noise.mean().item() == pytest.approx(0.0, abs=0.03)
    assert found.noise.std().item() == pytest.approx(1.0, abs=0.03)


def test_a_zero_from_the_generator_is_no_noise_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.zeros(shape))
    assert draw().sigma.tolist() == torch.ones(3, 4).tolist()
