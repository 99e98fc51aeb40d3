"""Sizes known from a configuration are those of the loaded model, and the estimates are near what is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfportrait.models.base import Sizes
from selfportrait.models.janus import Janus
from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import Draw


def loaded(model: Any) -> tuple[Sizes, Any]:
    sizes = model.sizes()
    assert sizes is not None
    return sizes, model.load()


def encoder_bytes(model: Any) -> int:
    return sum(p.nbytes for part in model.denoiser.frozen_modules().values() for p in part.parameters())


def kept_bytes(model: Any, forward: Callable[[], torch.Tensor]) -> int:
    """What a forward leaves for the backward pass beside the weights."""
    weights = {p.untyped_storage().data_ptr() for p in (model.trainable() | model.frozen()).values()}
    found: dict[int, torch.Tensor] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("train", ["lora", "full"])
@pytest.mark.parametrize(
    ("family", "name"), [(Janus, "tiny_janus"), (SD3, "tiny_sd3_t5"), (SD, "tiny_sd"), (SD, "tiny_sdxl")]
)
def test_sizes_are_those_of_the_loaded_model(
    family: Callable[..., Any], name: str, train: str, request: pytest.FixtureRequest
) -> None:
    sizes, model = loaded(family(path=str(request.getfixturevalue(name)), train=train, lora_rank=4))
    every = model.trainable() | model.frozen()
    adapters = sum(p.numel() for name, p in every.items() if "lora" in name)
    assert sum(sizes.parts.values()) == sum(p.numel() for p in every.values()) - adapters
    assert sizes.weight_bytes == sum(p.nbytes for p in every.values())
    assert sizes.encoder_bytes == (0 if family is Janus else encoder_bytes(model))
    assert sizes.num_trained == sum(p.numel() for p in model.trainable().values())
    assert sizes.trained_bytes == sum(p.nbytes for p in model.trainable().values())


@pytest.mark.parametrize("train", ["lora", "full"])
def test_factors_are_what_adafactor_keeps(train: str, tiny_sd: Path) -> None:
    sizes, model = loaded(SD(path=str(tiny_sd), train=train, lora_rank=4))
    optimizer = Optimizer(name="adafactor").start(model.trainable())
    for parameter in model.trainable().values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = [value for name, value in optimizer.state_dict().items() if name.startswith("exp_avg_sq")]
    assert sizes.num_factors == sum(value.numel() for value in kept)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_activations_of_janus_are_near_the_estimate(train: str, tiny_janus: Path) -> None:
    sizes, model = loaded(Janus(path=str(tiny_janus), train=train))
    assert sizes.num_tokens == model.num_tokens == 16
    prompts = model.encode(["a red circle"]).repeat(4)
    tokens = torch.zeros(4, 16, dtype=torch.long)
    counted = kept_bytes(model, lambda: model.log_likelihood(tokens, prompts))
    assert counted / (4 * (prompts.ids.shape[1] + 15) * sizes.kept_bytes) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_activations_of_sd3_are_near_the_estimate(train: str) -> None:
    sizes, model = loaded(SD3(train=train))
    prompts = model.encode(["a red circle"]).repeat(8)
    latents = torch.zeros(8, 4, 16, 16)
    draw = Draw(torch.full((8,), 0.5), torch.zeros_like(latents))
    counted = kept_bytes(model, lambda: model.log_likelihood(latents, prompts, draw))
    assert counted / (8 * sizes.num_tokens * sizes.kept_bytes) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("name", ["tiny_sd", "tiny_sdxl"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_activations_of_a_unet_are_counted(train: str, name: str, request: pytest.FixtureRequest) -> None:
    path = str(request.getfixturevalue(name))
    sizes, model = loaded(SD(path=path, train=train))
    prompts = model.encode(["a red circle"]).repeat(4)
    latents = torch.zeros(4, 4, 16, 16)
    draw = Draw(torch.full((4,), 0.5), torch.zeros_like(latents))
    counted = kept_bytes(model, lambda: model.log_likelihood(latents, prompts, draw))
    assert counted / (4 * sizes.num_tokens * sizes.kept_bytes) == pytest.approx(1, abs=0.02)
    saving = SD(path=path, train=train, gradient_checkpointing=True).sizes()
    assert saving is not None
    assert 0.1 < saving.kept_bytes / sizes.kept_bytes < 0.6


def test_a_unet_in_float16_keeps_its_autoencoder_in_float32(tiny_sd: Path) -> None:
    sizes, model = loaded(SD(path=str(tiny_sd), dtype="float16"))
    assert sizes.weight_bytes == sum(p.nbytes for p in (model.trainable() | model.frozen()).values())
    assert sizes.encoder_bytes == sum(
        p.nbytes for part in model.denoiser.frozen_modules().values() for p in part.parameters()
    )


@pytest.mark.parametrize(("name", "billions", "learns"), [("1B", 2.08, 60_555_264), ("7B", 7.41, 149_913_600)])
def test_published_numbers_add_up(name: str, billions: float, learns: int) -> None:
    sizes = Janus(path=f"deepseek-community/Janus-Pro-{name}", dtype="bfloat16", lora_rank=64).sizes()
    assert sizes is not None
    assert "published numbers" in sizes.source
    assert sum(sizes.parts.values()) / 1e9 == pytest.approx(billions, abs=0.01)
    assert sizes.num_trained == learns  # 64 (in + out) of each of the seven projections of every layer
    assert sizes.num_tokens == 576


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", (859_520_964, 123_060_480, 83_653_863)),
        ("stabilityai/stable-diffusion-xl-base-1.0", (2_567_463_684, 694_659_840, 123_060_480, 83_653_863)),
        (
            "stabilityai/stable-diffusion-3.5-medium",
            (4_762_310_656, 2_243_171_520, 694_659_840, 123_650_304, 83_819_683),
        ),
    ],
)  # the counts of the published weights; those of SD3.5's transformer without its table of positions
def test_well_known_pipelines_have_their_published_sizes(path: str, parts: tuple[int, ...]) -> None:
    sizes = {True: SD3, False: SD}["3.5" in path](path=path, train="full").sizes()
    assert sizes is not None
    assert tuple(sizes.parts.values()) == parts
    assert sizes.num_tokens == {4: 64 * 64, 3: 64 * 64, 5: 64 * 64 + 77 + 256}[len(parts)] * (
        4 if len(parts) == 4 else 1
    )
