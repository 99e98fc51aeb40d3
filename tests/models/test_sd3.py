"""The flow model draws what diffusers draws, its log-likelihood is the hand-computed one, and bad folders are named."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from peft.tuners.tuners_utils import BaseTunerLayer
from PIL import Image

from selfportrait import seeds as keyed
from selfportrait.models.base import EncodedText
from selfportrait.models.sd3 import SD3
from selfportrait.types import Draw

PROMPT = "a red circle on a white background"
TEXTS = ["a red circle", "two blue squares left of a ring", "a star"]
SAMPLING = {"num_inference_steps": 3, "guidance_scale": 3.0}


def model_of(folder: Path, **settings: object) -> SD3:
    return SD3(path=str(folder), **{"train": "full", **SAMPLING, **settings}).load()


@pytest.fixture(scope="module")
def full(tiny_sd3: Path) -> SD3:
    """A shared model: tests that change its weights build their own."""
    return model_of(tiny_sd3)


def perturb(model: SD3, size: float = 0.05) -> None:
    """Move every trainable weight, as training would; LoRA's zero half in particular."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(size * torch.randn(parameter.shape, generator=chance).to(parameter.dtype))


def plain(folder: Path) -> StableDiffusion3Pipeline:
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def plain_picture(pipeline: StableDiffusion3Pipeline, seed: int, **settings: object) -> Image.Image:
    return pipeline(PROMPT, generator=torch.Generator().manual_seed(seed), **SAMPLING, **settings).images[0]


def distance(first: Image.Image, second: Image.Image) -> int:
    """The largest difference of two pictures in 255ths."""
    return int(np.abs(np.asarray(first, int) - np.asarray(second, int)).max())


def draw_of(sigma: list[float], noise: torch.Tensor) -> Draw:
    return Draw(torch.tensor(sigma), noise)


# Sampling


def test_a_full_model_that_was_saved_draws_the_same_in_plain_diffusers(tiny_sd3: Path, tmp_path: Path) -> None:
    model = model_of(tiny_sd3)
    base = model.sample(model.encode([PROMPT]), [11]).images[0]
    assert distance(base, plain_picture(plain(tiny_sd3), 11)) <= 1
    perturb(model, 0.02)
    drawn = model.sample(model.encode([PROMPT]), [11]).images[0]
    assert drawn.size == (64, 64)
    assert distance(drawn, base) > 5
    model.save(tmp_path)
    assert distance(drawn, plain_picture(plain(tmp_path), 11)) <= 1


@pytest.mark.parametrize(("rank", "alpha"), [(4, None), (2, 6.0)])
def test_a_lora_that_was_saved_draws_the_same_in_plain_diffusers(
    tiny_sd3: Path, tmp_path: Path, rank: int, alpha: float | None
) -> None:
    settings = {"train": "lora", "lora_rank": rank, "lora_alpha": alpha}
    model = model_of(tiny_sd3, **settings)
    pipeline = plain(tiny_sd3)
    before = model.sample(model.encode([PROMPT]), [7]).images[0]
    assert distance(before, plain_picture(pipeline, 7)) <= 1  # a fresh adapter changes nothing
    perturb(model, 0.1)
    drawn = model.sample(model.encode([PROMPT]), [7]).images[0]
    assert distance(drawn, before) > 5
    model.save(tmp_path)
    pipeline.load_lora_weights(tmp_path)
    assert distance(drawn, plain_picture(pipeline, 7)) <= 1
    again = model_of(tiny_sd3, **settings)
    again.load_adapter(tmp_path)
    assert distance(drawn, again.sample(again.encode([PROMPT]), [7]).images[0]) == 0
    for name, parameter in model.trainable().items():
        assert torch.equal(parameter, again.trainable()[name])


def test_a_pipeline_with_t5_draws_the_same_in_plain_diffusers(tiny_sd3_t5: Path) -> None:
    model = model_of(tiny_sd3_t5, max_sequence_length=16)
    assert model.encode([PROMPT]).context.shape[1] == 18 + 16
    pipeline = StableDiffusion3Pipeline.from_pretrained(tiny_sd3_t5)
    pipeline.set_progress_bar_config(disable=True)
    drawn = model.sample(model.encode([PROMPT]), [7]).images[0]
    assert distance(drawn, plain_picture(pipeline, 7, max_sequence_length=16)) <= 1
    assert any(name.startswith("text_encoder_3.") for name in model.frozen())
    assert not model.frozen().keys() & model.trainable().keys()


def test_a_picture_does_not_depend_on_what_else_is_in_the_batch(full: SD3) -> None:
    seeds = [5, 6, 2**62 + 1]
    together = full.sample(full.encode(TEXTS), seeds)
    alone = full.sample(full.encode(TEXTS[1:2]), seeds[1:2])
    assert (together.content[1] - alone.content[0]).abs().max() < 1e-4
    assert distance(together.images[1], alone.images[0]) <= 1
    assert (together.content[0] - together.content[1]).abs().max() > 0.1


def test_batches_are_as_large_as_allowed_and_change_nothing(tiny_sd3: Path, full: SD3) -> None:
    model = model_of(tiny_sd3, batch_size=2)
    rows: list[int] = []
    model.transformer.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["hidden_states"])), with_kwargs=True
    )
    found = model.sample(model.encode(TEXTS), [1, 2, 3])
    assert rows == [4, 4, 4, 2, 2, 2]  # guidance doubles the rows; three steps each
    assert torch.allclose(found.content, full.sample(full.encode(TEXTS), [1, 2, 3]).content, atol=1e-4)
    assert len(found.images) == 3


def test_without_guidance_the_empty_prompt_is_not_drawn(tiny_sd3: Path) -> None:
    model = model_of(tiny_sd3, guidance_scale=1.0)
    rows: list[int] = []
    model.transformer.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["hidden_states"])), with_kwargs=True
    )
    model.sample(model.encode(TEXTS), [1, 2, 3])
    assert rows == [3, 3, 3]


def test_each_distinct_prompt_is_encoded_once(tiny_sd3: Path) -> None:
    model = model_of(tiny_sd3)
    counts = {"text_encoder": 0, "text_encoder_2": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(_: object, inputs: tuple[torch.Tensor, ...], __: object) -> None:
            counts[name] += len(inputs[0])

        return hook

    for name in counts:
        getattr(model.pipeline, name).register_forward_hook(count(name))
    first = model.encode([*TEXTS, TEXTS[0]])
    assert counts == {"text_encoder": 3, "text_encoder_2": 3}
    second = model.encode([TEXTS[2], "a cross"])
    assert counts == {"text_encoder": 4, "text_encoder_2": 4}
    assert torch.equal(first.context[0], first.context[3])
    assert torch.equal(first.context[2], second.context[0])
    model.sample(second, [1, 2])
    model.sample(second, [3, 4])
    assert counts == {"text_encoder": 5, "text_encoder_2": 5}  # the empty prompt, for guidance


def test_an_encoding_does_not_depend_on_the_prompts_beside_it(tiny_sd3: Path) -> None:
    together, alone = model_of(tiny_sd3).encode(TEXTS), model_of(tiny_sd3)
    for row, text in enumerate(TEXTS):
        found = alone.encode([text])
        assert torch.equal(found.context[0], together.context[row])
        assert torch.equal(found.pooled[0], together.pooled[row])


def test_an_embedded_checkpoint_is_sampled_as_it_is_made_to_be(tiny_sd3: Path) -> None:
    found = [SD3(path=path) for path in ("micro-sd3", "micro-sd3-text", str(tiny_sd3))]
    assert [(model.num_inference_steps, model.guidance_scale) for model in found] == [(10, 1.5), (10, 1.5), (28, 4.5)]
    chosen = SD3(path="micro-sd3", num_inference_steps=4, guidance_scale=1.0)
    assert (chosen.num_inference_steps, chosen.guidance_scale) == (4, 1.0)


@pytest.mark.slow
def test_equal_adapters_make_equal_files_in_every_process(tiny_sd3: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from selfportrait.models.sd3 import SD3; "
        "SD3(path=sys.argv[1], lora_rank=2).load().save(Path(sys.argv[2]))"
    )
    files = []
    for name in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": name}
        subprocess.run([sys.executable, "-c", code, tiny_sd3, tmp_path / name], env=environment, check=True)
        files.append((tmp_path / name / "pytorch_lora_weights.safetensors").read_bytes())
    assert files[0] == files[1] == files[2]


def test_bfloat16_draws_and_learns(tiny_sd3: Path) -> None:
    model = model_of(tiny_sd3, dtype="bfloat16", train="lora")
    conditioning = model.encode(TEXTS[:1])
    samples = model.sample(conditioning, [3])
    assert samples.content.dtype == torch.bfloat16
    assert samples.images[0].size == (64, 64)
    likelihood = model.log_likelihood(samples.content, conditioning, draw_of([0.5], torch.randn(1, 4, 16, 16)))
    assert likelihood.dtype == torch.float32
    assert torch.isfinite(likelihood).all()
    likelihood.sum().backward()
    assert any(parameter.grad.any() for parameter in model.trainable().values())


# Log-likelihood


class Velocity(torch.nn.Module):
    """Stands in for the transformer: it predicts what it was given, and remembers what it was asked."""

    def __init__(self, prediction: torch.Tensor) -> None:
        super().__init__()
        self.prediction = prediction
        self.asked: dict[str, torch.Tensor] = {}

    def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor]:
        self.asked = inputs
        return (self.prediction,)


@pytest.fixture
def with_prediction(tiny_sd3: Path, full: SD3) -> Iterator[Callable[[torch.Tensor], Velocity]]:
    """Replace the shared model's transformer until the test ends."""
    kept = full.transformer

    def replace(prediction: torch.Tensor) -> Velocity:
        full.transformer = Velocity(prediction)
        return full.transformer

    yield replace
    full.transformer = kept


NOTHING = EncodedText(torch.zeros(1, 1, 1), torch.zeros(1, 1))
# golden numbers: x_0 = (1, -2), eps = (0.5, 0.25), t = 0.3, v = eps - x_0 = (-0.5, 2.25), v_hat - v = (0.1, -0.2)
LATENT = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
NOISE = torch.tensor([0.5, 0.25]).view(1, 1, 1, 2)
ERRING = torch.tensor([-0.4, 2.05]).view(1, 1, 1, 2)


def test_a_perfect_prediction_has_log_likelihood_0(full: SD3, with_prediction) -> None:
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    with_prediction(noise - latents)
    assert full.log_likelihood(latents, NOTHING, draw_of([0.1, 0.9], noise)).tolist() == [0.0, 0.0]


def test_the_denoising_error_is_the_hand_computed_one(full: SD3, with_prediction) -> None:
    stub = with_prediction(ERRING)
    found = full.log_likelihood(LATENT, NOTHING, draw_of([0.3], NOISE))
    assert found.item() == pytest.approx(-0.025, abs=1e-6)  # (0.1^2 + 0.2^2) / 2, the mean, without a half
    # x_t = 0.7 (1, -2) + 0.3 (0.5, 0.25) = (0.85, -1.325), fed at timestep 1000 t
    assert stub.asked["hidden_states"].flatten().tolist() == pytest.approx([0.85, -1.325], abs=1e-6)
    assert stub.asked["timestep"].tolist() == pytest.approx([300.0])


def test_weights_weigh_the_elements_of_the_mean(full: SD3, with_prediction) -> None:
    with_prediction(ERRING)
    at = draw_of([0.3], NOISE)
    plainly = full.log_likelihood(LATENT, NOTHING, at)
    assert torch.equal(full.log_likelihood(LATENT, NOTHING, at, torch.ones(1, 1, 1, 2)), plainly)
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert full.log_likelihood(LATENT, NOTHING, at, mask).item() == pytest.approx(-0.005, abs=1e-6)  # 0.1^2 / 2
    assert full.log_likelihood(LATENT, NOTHING, at, 2 * mask).item() == pytest.approx(-0.01, abs=1e-6)


def test_the_better_of_two_predictions_is_likelier(full: SD3, with_prediction) -> None:
    exact = NOISE - LATENT
    with_prediction(torch.cat([exact + 0.1, exact - 0.3]))
    found = full.log_likelihood(LATENT.repeat(2, 1, 1, 1), NOTHING, draw_of([0.3, 0.3], NOISE.repeat(2, 1, 1, 1)))
    assert found.tolist() == pytest.approx([-0.01, -0.09], abs=1e-6)


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_gradient_reaches_what_is_trained_and_nothing_else(tiny_sd3: Path, train: str) -> None:
    model = model_of(tiny_sd3, train=train, lora_rank=2)
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    model.log_likelihood(latents, model.encode(TEXTS[:2]), draw_of([0.2, 0.8], noise)).sum().backward()
    trained, frozen = model.trainable(), model.frozen()
    assert all(parameter.grad is not None for parameter in trained.values())
    assert sum(bool(parameter.grad.any()) for parameter in trained.values()) > len(trained) / 3
    assert all(parameter.grad is None for parameter in frozen.values())
    everything = sum(
        len(list(part.parameters())) for part in (model.transformer, *model.denoiser.frozen_modules().values())
    )
    assert len(trained) + len(frozen) == everything
    assert all("lora" in name for name in trained) == (train == "lora")


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_reference_is_the_base_model_and_leaves_the_policy_as_it_was(tiny_sd3: Path, train: str) -> None:
    model = model_of(tiny_sd3, train=train, lora_rank=2)
    conditioning = model.encode(TEXTS[:1])
    latents, at = torch.randn(1, 4, 16, 16), draw_of([0.6], torch.randn(1, 4, 16, 16))

    def likelihood() -> torch.Tensor:
        return model.log_likelihood(latents, conditioning, at)

    start = likelihood().detach()
    with model.reference():
        assert torch.equal(likelihood(), start)
    perturb(model, 0.1 if train == "lora" else 0.02)
    policy = likelihood().detach()
    kept = {name: parameter.detach().clone() for name, parameter in model.trainable().items()}
    assert not torch.allclose(policy, start, rtol=1e-3)
    with model.reference():
        reference = likelihood()
        assert torch.equal(reference, start)
        assert not reference.requires_grad
    assert torch.equal(likelihood(), policy)
    assert model.trainable().keys() == kept.keys()
    assert all(torch.equal(parameter, kept[name]) for name, parameter in model.trainable().items())
    likelihood().sum().backward()  # the gradient comes back as well
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.trainable().values())


@pytest.mark.parametrize("train", ["full", "lora"])
def test_the_reference_can_become_the_policy_as_it_is(tiny_sd3: Path, train: str) -> None:
    model = model_of(tiny_sd3, train=train, lora_rank=2)
    latents, at = torch.randn(1, 4, 16, 16), draw_of([0.6], torch.randn(1, 4, 16, 16))
    perturb(model)
    then = model.log_likelihood(latents, model.encode(TEXTS[:1]), at).detach()
    model.renew_reference()
    perturb(model)
    with model.reference():
        assert torch.equal(model.log_likelihood(latents, model.encode(TEXTS[:1]), at), then)
    assert not torch.equal(model.log_likelihood(latents, model.encode(TEXTS[:1]), at), then)


def test_new_adapters_are_left_out_of_the_reference_which_is_the_same_to_the_last_bit(tiny_sd3: Path) -> None:
    model = model_of(tiny_sd3, train="lora", lora_rank=2)
    latents, at = torch.randn(1, 4, 16, 16), draw_of([0.6], torch.randn(1, 4, 16, 16))
    then = model.log_likelihood(latents, model.encode(TEXTS[:1]), at).detach()
    model.renew_reference()
    adapters = [part for part in model.transformer.modules() if isinstance(part, BaseTunerLayer)]
    perturb(model)
    with model.reference():
        assert adapters
        assert all(part.disable_adapters for part in adapters)
        with model.reference():
            assert torch.equal(model.log_likelihood(latents, model.encode(TEXTS[:1]), at), then)
        assert torch.equal(model.log_likelihood(latents, model.encode(TEXTS[:1]), at), then), "still inside"
    assert not any(part.disable_adapters for part in adapters)
    model.renew_reference()  # the adapters now do something, and the reference has them
    with model.reference():
        assert not any(part.disable_adapters for part in adapters)


def test_the_policy_comes_back_when_the_reference_is_left_by_an_error(tiny_sd3: Path) -> None:
    model = model_of(tiny_sd3)
    perturb(model, 0.02)
    kept = {name: parameter.detach().clone() for name, parameter in model.trainable().items()}
    with pytest.raises(RuntimeError, match="inside"), model.reference():
        raise RuntimeError("inside")
    assert all(torch.equal(parameter, kept[name]) for name, parameter in model.trainable().items())


def test_gradient_checkpointing_changes_no_gradient(tiny_sd3: Path) -> None:
    gradients = []
    for is_saving in (False, True):
        model = model_of(tiny_sd3, train="lora", lora_rank=2, gradient_checkpointing=is_saving)
        perturb(model)
        latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        at = draw_of([0.5], torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)))
        model.log_likelihood(latents, model.encode(TEXTS[:1]), at).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.trainable().values()]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_two_loads_start_from_the_same_adapters(tiny_sd3: Path) -> None:
    first, second = (model_of(tiny_sd3, train="lora", lora_rank=2).trainable() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


# Levels, steps and pictures


def gaussian(seed: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_noise_is_found_again(full: SD3) -> None:
    content, noise, sigma = gaussian(0, 3), gaussian(1, 3), torch.tensor([0.02, 0.4, 1.0])
    noisy = full.noised(content, noise, sigma)
    assert torch.allclose(full.noise_in(noisy, content, sigma), noise, atol=1e-4)
    assert torch.allclose(noisy[1], 0.6 * content[1] + 0.4 * noise[1], atol=1e-6)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_steps_all_the_way_down_are_the_pipelines_sampler(full: SD3, tiny_sd3: Path, guidance_scale: float) -> None:
    model = full if guidance_scale == 3 else model_of(tiny_sd3, guidance_scale=guidance_scale)
    conditioning = model.encode([PROMPT])
    drawn = model.sample(conditioning, [11]).content
    levels = model.pipeline.scheduler.sigmas  # ends in 0
    latents = keyed.noise([11], (4, 16, 16))
    with torch.no_grad():
        for sigma, to in zip(levels, levels[1:], strict=False):
            latents = model.step(latents, conditioning, sigma[None], to[None], guidance_scale)
    assert (latents - drawn).abs().max() < 1e-4


def test_inverting_and_denoising_returns_near_the_latents(full: SD3) -> None:
    """In both directions the same levels; a step asks the model at its origin, so the way back is near."""
    conditioning, latents = full.encode(TEXTS[:1]), gaussian(5)
    levels = torch.linspace(0, 0.3, 31)
    with torch.no_grad():
        noisy = latents
        for sigma, to in zip(levels, levels[1:], strict=False):
            noisy = full.step(noisy, conditioning, sigma[None], to[None])
        back = noisy
        for sigma, to in zip(levels.flip(0), levels.flip(0)[1:], strict=False):
            back = full.step(back, conditioning, sigma[None], to[None])
    assert (noisy - latents).abs().mean() > 0.01
    assert (back - latents).abs().mean() < 0.2 * (noisy - latents).abs().mean()


def test_rows_of_different_times_are_as_one_at_a_time(full: SD3) -> None:
    conditioning, noisy = full.encode(TEXTS), gaussian(2, 3)
    sigma, to = torch.tensor([1.0, 0.5, 0.2]), torch.tensor([0.9, 0.45, 0.0])
    with torch.no_grad():
        step = full.step(noisy, conditioning, sigma, to, 2.0)
        mean, std = full.transition(noisy, conditioning, sigma, to, 2.0)
        for row in range(3):
            at = slice(row, row + 1)
            alone = noisy[at], conditioning.rows(at), sigma[at], to[at], 2.0
            assert torch.allclose(full.step(*alone), step[at], atol=1e-4)
            assert torch.allclose(full.transition(*alone).mean, mean[at], atol=1e-4)
            assert torch.allclose(full.transition(*alone).std, std[at])


def test_a_small_transition_is_a_step_with_noise(full: SD3) -> None:
    """The two samplers have the same marginals: as dt goes to 0, the means differ by s^2 dt / 2 of the score."""
    conditioning, noisy = full.encode(TEXTS[:1]), gaussian(2)
    sigma, to = torch.tensor([0.5]), torch.tensor([0.499])
    with torch.no_grad():
        mean, std = full.transition(noisy, conditioning, sigma, to)
        step = full.step(noisy, conditioning, sigma, to)
    noise = noisy + 500 * (noisy - step)  # x + (1 - sigma) v
    assert std.item() == pytest.approx(0.7 * 0.001**0.5, rel=1e-3)  # sigma / (1 - sigma) is 1 here
    assert torch.allclose(mean - step, -0.49 * 0.001 / 2 * noise / 0.5, atol=1e-5)


@torch.no_grad()
def test_latents_of_pictures_are_the_posteriors_mode_whatever_is_beside_them(full: SD3) -> None:
    pixels = torch.randint(0, 256, (3, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = [Image.fromarray(one.numpy()) for one in pixels]
    together = full.latents(images)
    assert together.shape == (3, 4, 16, 16)
    assert torch.equal(full.latents(images[1:2])[0], together[1])
    mean = full.pipeline.vae.encode(full.pipeline.image_processor.preprocess(images)).latent_dist.mean
    assert torch.allclose(together, (mean - 0.1) * 0.9, atol=1e-4)  # the fixture's shift and scale
    with pytest.raises(ValueError, match="picture 0 has 80x64 pixels, and the model draws 64x64"):
        full.latents([Image.new("RGB", (80, 64))])


def test_the_size_is_known_before_the_weights(tiny_sd3: Path) -> None:
    assert SD3(path=str(tiny_sd3)).picture_size == 64


# What cannot be loaded


@pytest.fixture
def broken(tiny_sd3: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sd3, tmp_path / "broken"))


@pytest.mark.parametrize("path", ["/no/such/folder", "no such folder", "./model", "a/b/c"])
def test_a_missing_folder_is_named(path: str) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder") as caught:
        SD3(path=path)
    assert path in str(caught.value)


def test_a_folder_without_index_is_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model_index\.json"):
        SD3(path=str(tmp_path))


def test_a_pipeline_of_another_class_is_named_with_what_fits(broken: Path) -> None:
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    with pytest.raises(ValueError, match="holds a FluxPipeline; the model 'sd3' fits a StableDiffusion3Pipeline only"):
        SD3(path=str(broken))


@pytest.mark.parametrize("content", ["{", "[]", "[1]", "null", "\xff"])
def test_an_unreadable_index_is_refused(broken: Path, content: str) -> None:
    (broken / "model_index.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"model_index\.json cannot be read|holds a None"):
        SD3(path=str(broken))


@pytest.mark.parametrize("part", ["tokenizer", "transformer", "text_encoder_2"])
def test_a_missing_part_is_named_before_loading(broken: Path, part: str) -> None:
    shutil.rmtree(broken / part)
    with pytest.raises(FileNotFoundError, match=f"{part} is missing"):
        SD3(path=str(broken))


def test_a_tokenizer_without_its_vocabulary_is_named_before_loading(broken: Path) -> None:
    (broken / "tokenizer_2" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer_2 is missing or incomplete"):
        SD3(path=str(broken))


@pytest.mark.parametrize("file", ["transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_damaged_weights_are_one_sentence(broken: Path, file: str, share: float | None) -> None:
    content = (broken / file).read_bytes()
    (broken / file).unlink()
    if share is not None:
        (broken / file).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="the weights cannot be loaded") as caught:
        SD3(path=str(broken)).load()
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_are_one_sentence(broken: Path) -> None:
    path = broken / "transformer/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_attention_heads": 2}))
    with pytest.raises(ValueError, match="the weights cannot be loaded") as caught:
        SD3(path=str(broken)).load()
    assert "\n" not in str(caught.value)


def test_an_adapter_that_does_not_fit_is_refused(tiny_sd3: Path, tmp_path: Path) -> None:
    model_of(tiny_sd3, train="lora", lora_rank=2).save(tmp_path / "lora")
    other = model_of(tiny_sd3, train="lora", lora_rank=4)
    with pytest.raises(ValueError, match=r"do not fit model\.lora_rank = 4") as caught:
        other.load_adapter(tmp_path / "lora")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"holds no pytorch_lora_weights\.safetensors"):
        other.load_adapter(tmp_path)
