"""Text encoders and autoencoder that are put away come back bit for bit, and meanwhile nothing asks them."""

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfportrait.models.sd import SD
from selfportrait.models.sd3 import SD3
from selfportrait.training.health import fingerprint
from selfportrait.types import Draw

KINDS = [(SD, "tiny_sd"), (SD, "tiny_sdxl"), (SD3, "tiny_sd3"), (SD3, "tiny_sd3_t5")]
TEXTS = ["a red circle", "two blue squares left of a ring"]


@pytest.fixture(params=KINDS, ids=[name for _, name in KINDS])
def build(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Each kind in turn: build(**settings) loads it."""
    family, name = request.param
    path = str(request.getfixturevalue(name))
    return lambda **settings: family(path=path, **settings).load()


def encoders(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.frozen().items() if not name.startswith(("unet.", "transformer."))}


def tied(model: Any) -> list[tuple[str, ...]]:
    """Which names of a module's parameters stand for one object."""
    by_object: dict[int, list[str]] = {}
    for prefix, module in model.denoiser.frozen_modules().items():
        for name, parameter in module.named_parameters(remove_duplicate=False):
            by_object.setdefault(id(parameter), []).append(f"{prefix}.{name}")
    return [tuple(names) for names in by_object.values() if len(names) > 1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_they_come_back_bit_for_bit(build: Callable[..., Any], dtype: str) -> None:
    model = build(dtype=dtype)
    before, objects, shared = fingerprint(model.frozen()), encoders(model), tied(model)
    buffers = {name: module.state_dict() for name, module in model.denoiser.frozen_modules().items()}
    text = model.encode(TEXTS)
    with model.without_encoders():
        assert not sum(parameter.numel() for parameter in encoders(model).values())
    assert fingerprint(model.frozen()) == before
    assert all(found is objects[name] for name, found in encoders(model).items())
    assert tied(model) == shared
    for name, module in model.denoiser.frozen_modules().items():
        assert all(torch.equal(value, buffers[name][key]) for key, value in module.state_dict().items())
    assert all(torch.equal(*both) for both in zip(text, model.encode(TEXTS), strict=True))


def test_t5_shares_its_words(tiny_sd3_t5: Path) -> None:
    assert tied(SD3(path=str(tiny_sd3_t5)).load())


def test_their_memory_is_given_back(tiny_sd: Path) -> None:
    model = SD(path=str(tiny_sd)).load()
    model.encode(TEXTS)
    storages = [weakref.ref(parameter.data.untyped_storage()) for parameter in encoders(model).values()]
    with model.without_encoders():
        gc.collect()
        assert not any(storage() for storage in storages)


def test_they_can_be_back_for_a_while(build: Callable[..., Any]) -> None:
    model = build()
    before, text = fingerprint(model.frozen()), model.encode(TEXTS)
    with model.without_encoders() as with_encoders:
        for _ in range(2):
            with with_encoders():
                assert fingerprint(model.frozen()) == before
                assert model.sample(text, [0, 1]).images
            assert not sum(parameter.numel() for parameter in encoders(model).values())
    assert fingerprint(model.frozen()) == before


def test_the_network_learns_the_same_meanwhile(build: Callable[..., Any]) -> None:
    model = build()
    side = model.denoiser.network.config.sample_size
    latents, noise = torch.randn(2, 2, 4, side, side, generator=torch.Generator().manual_seed(0))
    draw, text = Draw(torch.tensor([0.2, 0.8]), noise), model.encode(TEXTS)
    before = model.log_likelihood(latents, text, draw)
    with model.without_encoders():
        found = model.log_likelihood(latents, text, draw)
        found.sum().backward()
        with model.reference():
            assert torch.equal(model.log_likelihood(latents, text, draw), before)
    assert torch.equal(found, before)
    assert any(parameter.grad.any() for parameter in model.trainable().values())


def test_what_needs_them_is_refused_in_one_sentence(build: Callable[..., Any], tmp_path: Path) -> None:
    model = build(train="full", num_inference_steps=1)
    samples = model.sample(model.encode(TEXTS[:1]), [0])
    text = model.encode(TEXTS[:1])
    with model.without_encoders():
        for call in (
            lambda: model.encode(["a text that was not met before"]),
            lambda: model.latents(samples.images),
            lambda: model.decode(samples.content),
            lambda: model.sample(text, [0]),
            lambda: model.save(tmp_path / "model"),
        ):
            with pytest.raises(RuntimeError, match="are put away while the model trains"):
                call()
    assert not (tmp_path / "model").exists()
    assert model.sample(text, [0]).images[0].tobytes() == samples.images[0].tobytes()


def test_an_error_brings_them_back_too(build: Callable[..., Any]) -> None:
    model = build()
    before = fingerprint(model.frozen())
    with pytest.raises(KeyError, match="mine"), model.without_encoders():
        raise KeyError("mine")
    assert fingerprint(model.frozen()) == before


@pytest.mark.parametrize("missing", ["", "text_encoder", "vae/diffusion_pytorch_model.safetensors"])
def test_weights_that_are_gone_are_named(tiny_sd: Path, tmp_path: Path, missing: str) -> None:
    folder = Path(shutil.copytree(tiny_sd, tmp_path / "model"))
    model = SD(path=str(folder)).load()
    with pytest.raises(ValueError, match="cannot be read again .*; put them back as they were") as caught:  # noqa: SIM117
        with model.without_encoders():
            (folder / missing).rename(tmp_path / "gone")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="put away"):
        model.encode(TEXTS)


def test_an_error_inside_is_told_before_weights_that_are_gone(tiny_sd: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_sd, tmp_path / "model"))
    model = SD(path=str(folder)).load()

    def fail() -> None:
        shutil.rmtree(folder)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), model.without_encoders():
        fail()


@pytest.mark.gpu
def test_on_a_gpu_they_wait_in_the_machines_memory(build: Callable[..., Any]) -> None:
    model = build(device="cuda")
    before, objects = fingerprint(model.frozen()), encoders(model)
    text = model.encode(TEXTS)
    held = torch.cuda.memory_allocated()
    weights = sum(parameter.nbytes for parameter in objects.values())
    with model.without_encoders():
        assert torch.cuda.memory_allocated() <= held - weights
        assert {parameter.device.type for parameter in encoders(model).values()} == {"cpu"}
        with pytest.raises(RuntimeError, match="put away"):
            model.encode(["a star"])
    assert fingerprint(model.frozen()) == before
    assert all(found is objects[name] and found.is_cuda for name, found in encoders(model).items())
    assert all(torch.equal(*both) for both in zip(text, model.encode(TEXTS), strict=True))
