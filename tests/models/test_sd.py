"""Models over a UNet draw what diffusers draws, and their log-likelihoods and levels are the hand-computed ones."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    UNet2DConditionModel,
)
from PIL import Image

from selfportrait.models import _ddim
from selfportrait.models.base import EncodedText, transition_logp
from selfportrait.models.sd import SD
from selfportrait.types import Draw

PROMPT = "a red circle on a white background"
TEXTS = ["a red circle", "two blue squares left of a ring", "a star"]
SAMPLING = {"num_inference_steps": 3, "guidance_scale": 3.0}
KINDS = ["tiny_sd", "tiny_sd_v", "tiny_sdxl"]


def model_of(folder: Path, **settings: object) -> SD:
    return SD(path=str(folder), **{"train": "full", **SAMPLING, **settings}).load()


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    """Each kind in turn: Stable Diffusion 1.5, one with v-prediction and zero signal at the end, XL."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def epsilon(tiny_sd: Path) -> SD:
    """Shared models: tests that change their weights build their own."""
    return model_of(tiny_sd)


@pytest.fixture(scope="module")
def velocity(tiny_sd_v: Path) -> SD:
    return model_of(tiny_sd_v)


@pytest.fixture(scope="module")
def xl(tiny_sdxl: Path) -> SD:
    return model_of(tiny_sdxl)


@pytest.fixture(params=["epsilon", "velocity", "xl"])
def model(request: pytest.FixtureRequest) -> SD:
    return request.getfixturevalue(request.param)


def perturb(model: SD, size: float = 0.05) -> None:
    """Move every trainable weight, as training would; LoRA's zero half in particular."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(size * torch.randn(parameter.shape, generator=chance).to(parameter.dtype))


def plain(folder: Path) -> Any:
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def plain_picture(pipeline: Any, seed: int, **settings: object) -> Image.Image:
    return pipeline(PROMPT, generator=torch.Generator().manual_seed(seed), **{**SAMPLING, **settings}).images[0]


def distance(first: Image.Image, second: Image.Image) -> int:
    """The largest difference of two pictures in 255ths."""
    return int(np.abs(np.asarray(first, int) - np.asarray(second, int)).max())


def gaussian(seed: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


def draw_of(sigma: list[float], noise: torch.Tensor) -> Draw:
    return Draw(torch.tensor(sigma), noise)


# Sampling


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_it_draws_what_the_plain_pipeline_draws(folder: Path, guidance_scale: float) -> None:
    model = model_of(folder, guidance_scale=guidance_scale)
    drawn = model.sample(model.encode([PROMPT]), [11]).images[0]
    assert drawn.size == (64, 64)
    assert distance(drawn, plain_picture(plain(folder), 11, guidance_scale=guidance_scale)) <= 1


def test_without_zeros_for_it_the_empty_prompt_guides_xl(tiny_sdxl: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_sdxl, tmp_path / "other"))
    index = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    model, zeros = model_of(other), model_of(tiny_sdxl)
    drawn = model.sample(model.encode([PROMPT]), [11])
    assert distance(drawn.images[0], plain_picture(plain(other), 11)) <= 1
    assert (drawn.content - zeros.sample(zeros.encode([PROMPT]), [11]).content).abs().max() > 1e-3


def test_a_full_model_that_was_saved_draws_the_same_in_plain_diffusers(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder)
    base = model.sample(model.encode([PROMPT]), [11]).images[0]
    perturb(model, 0.02)
    drawn = model.sample(model.encode([PROMPT]), [11]).images[0]
    assert distance(drawn, base) > 5
    model.save(tmp_path)
    assert distance(drawn, plain_picture(plain(tmp_path), 11)) <= 1
    again = model_of(tmp_path)
    assert distance(drawn, again.sample(again.encode([PROMPT]), [11]).images[0]) == 0


@pytest.mark.parametrize(("rank", "alpha"), [(4, None), (2, 6.0)])
def test_a_lora_that_was_saved_draws_the_same_in_plain_diffusers(
    folder: Path, tmp_path: Path, rank: int, alpha: float | None
) -> None:
    settings = {"train": "lora", "lora_rank": rank, "lora_alpha": alpha}
    model, pipeline = model_of(folder, **settings), plain(folder)
    before = model.sample(model.encode([PROMPT]), [7]).images[0]
    assert distance(before, plain_picture(pipeline, 7)) <= 1  # a fresh adapter changes nothing
    perturb(model, 0.2)
    drawn = model.sample(model.encode([PROMPT]), [7]).images[0]
    assert distance(drawn, before) > 5
    model.save(tmp_path)
    pipeline.load_lora_weights(tmp_path)
    assert distance(drawn, plain_picture(pipeline, 7)) <= 1
    again = model_of(folder, **settings)
    again.load_adapter(tmp_path)
    assert distance(drawn, again.sample(again.encode([PROMPT]), [7]).images[0]) == 0
    for name, parameter in model.trainable().items():
        assert torch.equal(parameter, again.trainable()[name])


@pytest.mark.parametrize("train", ["lora", "full"])
def test_equal_models_make_equal_files(tiny_sdxl: Path, tmp_path: Path, train: str) -> None:
    found = []
    for name in ("1", "2"):
        model = model_of(tiny_sdxl, train=train, lora_rank=2)
        model.encode(TEXTS[: int(name)])
        model.save(tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert found[0]


def test_a_picture_does_not_depend_on_what_else_is_in_the_batch(model: SD) -> None:
    seeds = [5, 6, 2**62 + 1]
    together = model.sample(model.encode(TEXTS), seeds)
    alone = model.sample(model.encode(TEXTS[1:2]), seeds[1:2])
    assert (together.content[1] - alone.content[0]).abs().max() < 1e-4
    assert distance(together.images[1], alone.images[0]) <= 1
    assert (together.content[0] - together.content[1]).abs().max() > 0.1


def test_a_stochastic_sampler_draws_by_the_seed_alone(tiny_sd: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_sd, tmp_path / "other"))
    pipeline = plain(other)
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.save_pretrained(other)
    model = model_of(other, batch_size=2)
    together = model.sample(model.encode(TEXTS), [5, 6, 7])
    alone = model.sample(model.encode(TEXTS[1:2]), [6])
    assert (together.content[1] - alone.content[0]).abs().max() < 1e-3
    drawn = model.sample(model.encode([PROMPT]), [11]).images[0]
    assert distance(drawn, plain_picture(pipeline, 11)) <= 1


def test_batches_are_as_large_as_allowed(tiny_sd_v: Path) -> None:
    model = model_of(tiny_sd_v, batch_size=2)
    rows: list[int] = []
    model.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    assert len(model.sample(model.encode(TEXTS), [1, 2, 3]).images) == 3
    assert rows == [4, 4, 4, 2, 2, 2]  # guidance doubles the rows; three steps each


def test_each_distinct_prompt_is_encoded_once_and_alone(tiny_sdxl: Path) -> None:
    model, counts = model_of(tiny_sdxl), [0]
    model.pipeline.text_encoder.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    first = model.encode([*TEXTS, TEXTS[0]])
    second = model.encode([TEXTS[2], "a cross"])
    assert counts == [0, 1, 1, 1, 1]
    assert torch.equal(first.context[0], first.context[3])
    assert torch.equal(first.context[2], second.context[0])
    assert torch.equal(first.pooled[2], second.pooled[0])
    assert first.context.shape == (4, 18, 64)
    assert first.pooled.shape == (4, 24)


def test_only_xl_has_pooled_texts(epsilon: SD) -> None:
    encoded = epsilon.encode(TEXTS)
    assert encoded.pooled.shape == (3, 0)
    assert encoded.repeat(2).pooled.shape == (6, 0)
    assert encoded.rows(slice(1, 2)).pooled.shape == (1, 0)


def test_sampling_is_by_default_as_the_family_recommends(tiny_sd: Path, tiny_sdxl: Path) -> None:
    found = [SD(path=str(path)) for path in (tiny_sd, tiny_sdxl, "someone/elsewhere")]
    assert [(model.num_inference_steps, model.guidance_scale) for model in found] == [(50, 7.5), (50, 5.0), (50, 7.5)]
    chosen = SD(path=str(tiny_sdxl), num_inference_steps=4, guidance_scale=1.0).load()
    assert (chosen.num_inference_steps, chosen.guidance_scale) == (4, 1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_draws_encodes_and_learns(folder: Path, dtype: str) -> None:
    model = model_of(folder, dtype=dtype, train="lora")
    conditioning = model.encode(TEXTS[:1])
    samples = model.sample(conditioning, [3])
    assert samples.content.dtype == model.latents(samples.images).dtype == getattr(torch, dtype)
    assert model.pipeline.vae.dtype == (torch.float32 if dtype == "float16" else torch.bfloat16)  # it asks for that
    likelihood = model.log_likelihood(samples.content, conditioning, draw_of([0.5], gaussian(0)))
    assert likelihood.dtype == torch.float32
    assert torch.isfinite(likelihood).all()
    likelihood.sum().backward()
    assert any(parameter.grad.any() for parameter in model.trainable().values())
    assert model.step(samples.content, conditioning, torch.tensor([0.0]), torch.tensor([0.1])).dtype == torch.float32


# Log-likelihood


class Predicted(torch.nn.Module):
    """Stands in for the UNet: it predicts what it was given, and remembers what it was asked."""

    def __init__(self, prediction: torch.Tensor) -> None:
        super().__init__()
        self.prediction = prediction
        self.asked: dict[str, Any] = {}

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, **inputs: Any) -> tuple[torch.Tensor]:
        self.asked = {"noisy": noisy, "timestep": timestep, **inputs}
        return (self.prediction,)


NOTHING = EncodedText(torch.zeros(1, 1, 1), torch.zeros(1, 0))
LATENT = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
NOISE = torch.tensor([0.5, 0.25]).view(1, 1, 1, 2)
OFF = torch.tensor([0.1, -0.2]).view(1, 1, 1, 2)


@pytest.fixture
def with_prediction(epsilon: SD, velocity: SD) -> Iterator[Callable[[SD, torch.Tensor], Predicted]]:
    """Replace a shared model's UNet, with abar = 0.64 (a = 0.8, s = 0.6) at timestep 300, until the test ends."""
    kept = [(model, model.unet, model.schedule) for model in (epsilon, velocity)]

    def replace(model: SD, prediction: torch.Tensor) -> Predicted:
        abar = model.schedule.abar.clone()
        abar[300] = 0.64
        model.unet, model.schedule = Predicted(prediction), model.schedule._replace(abar=abar)
        return model.unet

    yield replace
    for model, unet, schedule in kept:
        model.unet, model.schedule = unet, schedule


def test_the_denoising_error_is_the_hand_computed_one(epsilon: SD, with_prediction) -> None:
    stub = with_prediction(epsilon, NOISE + OFF)
    found = epsilon.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE))
    assert found.item() == pytest.approx(-0.025, abs=1e-6)  # (0.1^2 + 0.2^2) / 2, the mean, without a half
    # x_t = 0.8 (1, -2) + 0.6 (0.5, 0.25) = (1.1, -1.45), fed at timestep 300
    assert stub.asked["noisy"].flatten().tolist() == pytest.approx([1.1, -1.45], abs=1e-6)
    assert stub.asked["timestep"].tolist() == [300]
    assert stub.asked["added_cond_kwargs"] is None
    assert epsilon.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE - OFF)).item() < -0.02


def test_the_target_of_a_velocity_is_the_hand_computed_one(velocity: SD, with_prediction) -> None:
    # v = 0.8 (0.5, 0.25) - 0.6 (1, -2) = (-0.2, 1.4)
    with_prediction(velocity, torch.tensor([-0.2, 1.4]).view(1, 1, 1, 2) + OFF)
    assert velocity.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE)).item() == pytest.approx(-0.025, abs=1e-6)


def test_an_error_of_noise_in_velocity_is_the_hand_computed_one(
    epsilon: SD, velocity: SD, with_prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (epsilon, velocity):
        monkeypatch.setattr(model, "error", "velocity")
    with_prediction(epsilon, NOISE + OFF)
    # of x_t = (1.1, -1.45) and the noise (0.6, 0.05) follow x_0 = (0.925, -1.85), v = (-0.075, 1.15): 0.125, 0.25 off
    found = epsilon.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE)).item()
    assert found == pytest.approx(-(0.125**2 + 0.25**2) / 2, abs=1e-6)
    with_prediction(velocity, torch.tensor([-0.2, 1.4]).view(1, 1, 1, 2) + OFF)
    assert velocity.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE)).item() == pytest.approx(-0.025, abs=1e-6)


def test_weights_weigh_the_elements_of_the_mean(epsilon: SD, with_prediction) -> None:
    with_prediction(epsilon, NOISE + OFF)
    at = draw_of([0.3], NOISE)
    plainly = epsilon.log_likelihood(LATENT, NOTHING, at)
    assert torch.equal(epsilon.log_likelihood(LATENT, NOTHING, at, torch.ones(1, 1, 1, 2)), plainly)
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert epsilon.log_likelihood(LATENT, NOTHING, at, mask).item() == pytest.approx(-0.005, abs=1e-6)  # 0.1^2 / 2


def test_a_time_is_the_timestep_below_it(epsilon: SD) -> None:
    levels = epsilon.schedule
    sigma = torch.tensor([0.0, 0.0004, 0.001, 0.2999, 0.3, 0.5005, 0.999, 0.9996, 1.0])
    assert levels.timestep(sigma).tolist() == [0, 0, 1, 299, 300, 500, 999, 999, 999]
    whole = torch.arange(1000)
    assert torch.equal(levels.timestep(whole / 1000), whole)  # float32 has most of these a little below or above
    assert torch.equal(levels.at(sigma)[:3], levels.abar[[0, 0, 1]])  # clean stands for the first level


def test_xl_is_told_its_size(tiny_sdxl: Path) -> None:
    model = model_of(tiny_sdxl)
    conditioning = model.encode(TEXTS[:2])
    model.unet = Predicted(torch.zeros(2, 4, 16, 16))
    model.log_likelihood(gaussian(0, 2), conditioning, draw_of([0.2, 0.7], gaussian(1, 2)))
    added = model.unet.asked["added_cond_kwargs"]
    assert added["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]] * 2
    assert torch.equal(added["text_embeds"], conditioning.pooled)


def test_at_pure_noise_a_velocity_still_tells_the_picture(velocity: SD) -> None:
    assert velocity.schedule.at(torch.tensor([1.0])).item() == 0
    conditioning, noise = velocity.encode(TEXTS[:1]), gaussian(1)
    assert torch.equal(velocity.noised(gaussian(0), noise, torch.tensor([1.0])), noise)
    assert torch.isfinite(velocity.log_likelihood(gaussian(0), conditioning, draw_of([1.0], noise))).all()
    mean, std = velocity.transition(noise, conditioning, torch.tensor([1.0]), torch.tensor([0.5]))
    assert torch.isfinite(mean).all()
    assert torch.isfinite(std).all()


def test_a_likelihood_without_a_draw_is_refused(epsilon: SD) -> None:
    with pytest.raises(ValueError, match="taken at a draw"):
        epsilon.log_likelihood(gaussian(0), epsilon.encode(TEXTS[:1]))


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_gradient_reaches_what_is_trained_and_nothing_else(folder: Path, train: str) -> None:
    model = model_of(folder, train=train, lora_rank=2)
    model.log_likelihood(gaussian(0, 2), model.encode(TEXTS[:2]), draw_of([0.2, 0.8], gaussian(1, 2))).sum().backward()
    trained, frozen = model.trainable(), model.frozen()
    assert all(parameter.grad is not None for parameter in trained.values())
    assert sum(bool(parameter.grad.any()) for parameter in trained.values()) > len(trained) / 3
    assert all(parameter.grad is None for parameter in frozen.values())
    assert not trained.keys() & frozen.keys()
    networks = (model.unet, *model.denoiser.frozen_modules().values())
    assert len(trained) + len(frozen) == sum(len(list(part.parameters())) for part in networks)
    assert all("lora" in name for name in trained) == (train == "lora")


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_reference_is_the_base_model_until_it_is_renewed(folder: Path, train: str) -> None:
    model = model_of(folder, train=train, lora_rank=2)
    conditioning, latents, at = model.encode(TEXTS[:1]), gaussian(0), draw_of([0.6], gaussian(1))

    def likelihood() -> torch.Tensor:
        return model.log_likelihood(latents, conditioning, at)

    start = likelihood().detach()
    with model.reference():
        assert torch.equal(likelihood(), start)
    perturb(model, 0.1 if train == "lora" else 0.02)
    policy = likelihood().detach()
    assert not torch.allclose(policy, start, rtol=1e-4)
    with model.reference():
        reference = likelihood()
        assert torch.equal(reference, start)
        assert not reference.requires_grad
    assert torch.equal(likelihood(), policy)
    model.renew_reference()
    perturb(model)
    with model.reference():
        assert torch.equal(likelihood(), policy)
    likelihood().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.trainable().values())


def test_gradient_checkpointing_changes_no_gradient(tiny_sdxl: Path) -> None:
    gradients = []
    for is_saving in (False, True):
        model = model_of(tiny_sdxl, train="lora", lora_rank=2, gradient_checkpointing=is_saving)
        perturb(model)
        model.log_likelihood(gaussian(0), model.encode(TEXTS[:1]), draw_of([0.5], gaussian(1))).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.trainable().values()]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


# Levels, steps and pictures


def test_noise_is_found_again(model: SD) -> None:
    content, noise, sigma = gaussian(0, 3), gaussian(1, 3), torch.tensor([0.02, 0.4, 0.95])
    noisy = model.noised(content, noise, sigma)
    assert torch.allclose(model.noise_in(noisy, content, sigma), noise, atol=1e-4)
    abar = model.schedule.abar[[20, 400, 950]].double().view(3, 1, 1, 1)
    assert torch.allclose(noisy.double(), abar.sqrt() * content + (1 - abar).sqrt() * noise, atol=1e-6)


def ddim(folder: Path, **changes: object) -> Any:
    """The plain pipeline with DDIM."""
    pipeline = plain(folder)
    config = {**pipeline.scheduler.config, "clip_sample": False, "set_alpha_to_one": False, **changes}
    pipeline.scheduler = DDIMScheduler.from_config(config)
    return pipeline


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_steps_all_the_way_down_are_the_ddim_sampler(folder: Path, guidance_scale: float) -> None:
    model, pipeline, noise = model_of(folder), ddim(folder), gaussian(3)
    drawn = pipeline(
        PROMPT, latents=noise, num_inference_steps=5, guidance_scale=guidance_scale, output_type="latent"
    ).images
    latents, conditioning = noise, model.encode([PROMPT])
    levels = [*(pipeline.scheduler.timesteps / 1000), torch.tensor(0.0)]
    with torch.no_grad():
        for sigma, to in zip(levels, levels[1:], strict=False):
            latents = model.step(latents, conditioning, sigma[None], to[None], guidance_scale)
    assert (latents - drawn).abs().max() < 1e-3


def test_clean_is_what_the_scheduler_takes_for_it(tiny_sd: Path, tmp_path: Path) -> None:
    pipeline = ddim(tiny_sd, set_alpha_to_one=True)
    pipeline.save_pretrained(tmp_path)
    model = model_of(tmp_path)
    assert model.schedule.at(torch.tensor([0.0, 0.0004])).tolist() == [1.0, model.schedule.abar[0].item()]
    with torch.no_grad():
        found = model.step(gaussian(3), model.encode([PROMPT]), torch.tensor([0.2]), torch.tensor([0.0]))
        pipeline.scheduler.set_timesteps(5)
        prediction = pipeline.unet(gaussian(3), 200, model.encode([PROMPT]).context).sample
    expected = pipeline.scheduler.step(prediction, 200, gaussian(3)).pred_original_sample
    assert (found - expected).abs().max() < 1e-4


def test_inverting_and_denoising_returns_near_the_latents(model: SD) -> None:
    """In both directions the same levels; the first step asks the model at its origin, so the way back is near."""
    conditioning, latents = model.encode(TEXTS[:1]), gaussian(5)
    levels = torch.linspace(0, 0.3, 31)
    with torch.no_grad():
        noisy = latents
        for sigma, to in zip(levels, levels[1:], strict=False):
            noisy = model.step(noisy, conditioning, sigma[None], to[None])
        assert (noisy - latents).abs().mean() > 0.01
        back = noisy
        for sigma, to in zip(levels.flip(0), levels.flip(0)[1:], strict=False):
            back = model.step(back, conditioning, sigma[None], to[None])
    assert (back - latents).abs().mean() < 0.2 * (noisy - latents).abs().mean()
    noise = model.noise_in(noisy, latents, levels[-1:])
    assert torch.allclose(model.noised(latents, noise, levels[-1:]), noisy, atol=1e-5)


def test_rows_of_different_times_are_as_one_at_a_time(model: SD) -> None:
    conditioning, noisy = model.encode(TEXTS), gaussian(2, 3)
    sigma, to = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0.6, 0.45, 0.0])
    with torch.no_grad():
        step = model.step(noisy, conditioning, sigma, to, 2.0)
        mean, std = model.transition(noisy, conditioning, sigma, to, 2.0)
        for row in range(3):
            at = slice(row, row + 1)
            alone = noisy[at], conditioning.rows(at), sigma[at], to[at], 2.0
            assert torch.allclose(model.step(*alone), step[at], atol=1e-4)
            assert torch.allclose(model.transition(*alone).mean, mean[at], atol=1e-4)
            assert torch.allclose(model.transition(*alone).std, std[at])


def test_a_transition_is_the_stochastic_ddim_step(folder: Path) -> None:
    model, pipeline, noisy, chance = model_of(folder), ddim(folder), gaussian(2), gaussian(4)
    conditioning = model.encode([PROMPT])
    pipeline.scheduler.set_timesteps(20)
    sigma, to = torch.tensor([0.5]), torch.tensor([0.45])
    with torch.no_grad():
        mean, std = model.transition(noisy, conditioning, sigma, to)
        added = {"text_embeds": conditioning.pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        prediction = pipeline.unet(noisy, 500, conditioning.context, added_cond_kwargs=added).sample
    expected = pipeline.scheduler.step(prediction, 500, noisy, eta=1.0, variance_noise=chance).prev_sample
    assert torch.allclose(mean + std.view(1, 1, 1, 1) * chance, expected, atol=1e-4)
    logp = transition_logp(expected, mean, std)
    density = torch.distributions.Normal(mean, std.view(1, 1, 1, 1)).log_prob(expected).mean(dim=(1, 2, 3))
    assert torch.allclose(logp, density, atol=1e-4)


def test_a_step_has_a_gradient_unless_it_is_switched_off(tiny_sd: Path) -> None:
    model = model_of(tiny_sd, train="lora")
    perturb(model)
    mean, std = model.transition(gaussian(0), model.encode(TEXTS[:1]), torch.tensor([0.5]), torch.tensor([0.4]), 2.0)
    transition_logp(gaussian(1), mean, std).sum().backward()
    assert any(parameter.grad.any() for parameter in model.trainable().values())


def pictures(count: int) -> list[Image.Image]:
    pixels = torch.randint(0, 256, (count, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return [Image.fromarray(one.numpy()) for one in pixels]


def test_latents_of_pictures_are_the_posteriors_mode_whatever_is_beside_them(model: SD) -> None:
    images = pictures(3)
    together = model.latents(images)
    assert together.shape == (3, 4, 16, 16)
    assert torch.equal(model.latents(images[1:2])[0], together[1])
    assert torch.equal(model.latents(images), together)
    vae = model.pipeline.vae
    pixels = model.pipeline.image_processor.preprocess(images)
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(together, expected, atol=1e-4)
    assert not together.requires_grad


def test_a_picture_of_another_size_is_refused(model: SD) -> None:
    assert model.picture_size == 64
    with pytest.raises(ValueError, match="picture 1 has 80x64 pixels, and the model draws 64x64"):
        model.latents([*pictures(1), Image.new("RGB", (80, 64))])


def test_the_size_is_known_before_the_weights(folder: Path) -> None:
    assert SD(path=str(folder)).picture_size == 64


# What cannot be loaded


@pytest.fixture
def broken(tiny_sd: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sd, tmp_path / "broken"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("path", ["/no/such/folder", "no such folder", "micro-xl", "a/b/c"])
def test_a_missing_folder_is_named(path: str) -> None:
    with pytest.raises(
        FileNotFoundError, match="there is no such folder; give the folder of a StableDiffusionP"
    ) as caught:
        SD(path=path)
    assert path in str(caught.value)
    assert "or micro-sd" in str(caught.value)
    assert "micro-sd3" not in str(caught.value)


def test_a_pipeline_of_another_class_is_named_with_what_fits(tiny_sd3: Path) -> None:
    fits = "StableDiffusionPipeline or StableDiffusionXLPipeline"
    with pytest.raises(ValueError, match=f"holds a StableDiffusion3Pipeline; the model 'sd' fits a {fits} only"):
        SD(path=str(tiny_sd3))


def test_a_missing_part_is_named_before_loading_unless_it_is_not_used(broken: Path) -> None:
    change(broken / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    assert SD(path=str(broken)).load()
    shutil.rmtree(broken / "unet")
    with pytest.raises(FileNotFoundError, match="unet is missing"):
        SD(path=str(broken))


def test_pure_noise_and_the_noise_in_it_are_refused_before_loading(broken: Path) -> None:
    change(broken / "scheduler/scheduler_config.json", rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match="prediction_type = epsilon and rescale_betas_zero_snr") as caught:
        SD(path=str(broken))
    assert "\n" not in str(caught.value)


def test_a_prediction_of_another_kind_is_refused_before_loading(broken: Path) -> None:
    change(broken / "scheduler/scheduler_config.json", prediction_type="sample")
    with pytest.raises(ValueError, match="prediction_type = 'sample', expected epsilon or v_prediction"):
        SD(path=str(broken))


def test_a_scheduler_that_bounds_latents_is_refused() -> None:
    with pytest.raises(ValueError, match="its scheduler has clip_sample"):
        _ddim.schedule_of(DDPMScheduler(), "here")


def test_a_scheduler_without_timesteps_is_refused(tiny_sdxl: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_sdxl, tmp_path / "other"))
    change(other / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    with pytest.raises(ValueError, match="a FlowMatchEulerDiscreteScheduler, has no alphas_cumprod"):
        SD(path=str(other)).load()


def test_a_unet_that_is_told_the_guidance_is_refused(tiny_sd: Path, tmp_path: Path) -> None:
    pipeline = plain(tiny_sd)
    pipeline.unet = UNet2DConditionModel.from_config(pipeline.unet.config, time_cond_proj_dim=8)
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="its UNet is told the guidance scale"):
        SD(path=str(tmp_path)).load()


def test_an_unreadable_configuration_is_refused(broken: Path) -> None:
    (broken / "scheduler/scheduler_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"scheduler_config\.json cannot be read"):
        SD(path=str(broken))


def test_a_size_that_is_no_square_is_refused(broken: Path) -> None:
    change(broken / "unet/config.json", sample_size=[16, 24])
    with pytest.raises(ValueError, match=r"sample_size = \[16, 24\], expected the side of a square"):
        _ = SD(path=str(broken)).picture_size


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
@pytest.mark.parametrize("share", [0.5, None])
def test_damaged_weights_are_one_sentence(broken: Path, file: str, share: float | None) -> None:
    content = (broken / file).read_bytes()
    (broken / file).unlink()
    if share is not None:
        (broken / file).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="the weights cannot be loaded") as caught:
        SD(path=str(broken)).load()
    assert "\n" not in str(caught.value)


def test_an_adapter_that_does_not_fit_is_refused(tiny_sd: Path, tmp_path: Path) -> None:
    model_of(tiny_sd, train="lora", lora_rank=2).save(tmp_path / "lora")
    other = model_of(tiny_sd, train="lora", lora_rank=4)
    with pytest.raises(ValueError, match=r"do not fit model\.lora_rank = 4") as caught:
        other.load_adapter(tmp_path / "lora")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"holds no pytorch_lora_weights\.safetensors"):
        other.load_adapter(tmp_path)
