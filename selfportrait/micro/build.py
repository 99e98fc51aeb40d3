"""`selfportrait micro build`: train the embedded models from nothing, with a seed, so that anyone can do it again.

Read this for the order and the sizes. It goes on where it was stopped.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from selfportrait import progress, store
from selfportrait.micro import autoencoder, denoisers, flow, unet, unified_build
from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import checks
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out
from selfportrait.micro.world import render
from selfportrait.training import checkpoint

__all__ = ["NAMES", "RECIPES", "build", "reconstruction_accuracy"]


@dataclass(frozen=True)
class Recipe:
    """What one embedded pipeline is made of and learns: shares of the categories, and updates."""

    new_pipeline: Callable[..., DiffusionPipeline]
    trainer: Callable[..., denoisers.Trainer]
    categories: dict[str, float]
    steps: int


_SHAPES = {"color": 1.0, "shape": 1.0, "spatial": 2.0, "numeracy": 2.0, "complex": 1.6}
RECIPES = {
    "sd": Recipe(unet.new_pipeline, unet.trainer, _SHAPES, steps=2_200),
    "sd3": Recipe(partial(flow.new_pipeline, spells=False), flow.trainer, _SHAPES, steps=3_000),
    "sd3-text": Recipe(partial(flow.new_pipeline, spells=True), flow.trainer, {"text": 1.0}, steps=2_600),
}
NAMES = (*RECIPES, "janus")
AUTOENCODER_STEPS = 6_000
TRAINING_SET = 64_000
CHECKPOINT_EVERY = 250


def build(
    name: str,
    out: Path,
    *,
    steps: int | None = None,
    autoencoder_steps: int = AUTOENCODER_STEPS,
    training_set: int = TRAINING_SET,
    seed: int = 0,
    device: str = "auto",
) -> Path:
    """Train `sd`, `sd3`, `sd3-text` or `janus` and save the model in `out`; intermediate results stay in `out`/.build.

    What is finished there is used as it is, so two pipelines can share an autoencoder by a copy of its folder. The
    token model is built by `unified_build`. Raises ValueError for an unknown name, or where a file stands in the place
    of the folder.
    """
    if name not in NAMES:
        raise ValueError(f"there is no micro model {name!r} to build; choose {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    if any(place.exists() and not place.is_dir() for place in (out, *out.parents)):
        raise ValueError(f"{out} cannot be a folder, a file is in its place; give another one to build in")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name == "janus":
        return unified_build.build(out, steps=steps or unified_build.STEPS, seed=seed, device=device)
    recipe, work = RECIPES[name], out / ".build"
    vae = _autoencoder(work, autoencoder_steps, seed, device)
    pipeline = recipe.new_pipeline(vae, seed=seed)
    data = _training_set(pipeline, recipe, training_set, seed, device, work)
    trainer = recipe.trainer(pipeline, steps=steps or recipe.steps, seed=seed, device=device)
    _train(trainer, data, work)
    trainer.use_ema()
    denoisers.save(pipeline, out)
    return out


def _autoencoder(work: Path, steps: int, seed: int, device: str) -> AutoencoderKL:
    """The trained autoencoder; a later call, also after a kill, reads what an earlier one saved."""
    folder = work / "autoencoder"
    if not (folder / "config.json").is_file():
        torch.manual_seed(seed)
        vae = autoencoder.new_autoencoder()
        with progress.bar("training the autoencoder", total=steps) as advance:
            autoencoder.train_autoencoder(vae, steps=steps, seed=seed, device=device, on_step=lambda *_: advance(1))
        partial = folder.with_suffix(".partial")
        autoencoder.save(vae.cpu(), partial)
        partial.replace(folder)
    return AutoencoderKL.from_pretrained(folder, use_safetensors=True)


def _training_set(
    pipeline: DiffusionPipeline, recipe: Recipe, size: int, seed: int, device: str, work: Path
) -> denoisers.TrainingSet:
    path = work / f"training-set-{size}.safetensors"
    if not path.is_file():
        with progress.bar("drawing the training set", total=size) as advance:
            data = denoisers.make_training_set(
                pipeline, recipe.categories, size=size, seed=seed, device=device, on_step=advance
            )
        save_file(data._asdict(), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    return denoisers.TrainingSet(**load_file(path))


def _train(trainer: denoisers.Trainer, data: denoisers.TrainingSet, work: Path) -> None:
    saved = checkpoint.latest(work / "checkpoints")
    first = 0
    if saved is not None:
        trainer.load_state(saved.tensors)
        first = saved.step
    with progress.bar("training the denoiser", total=trainer.steps, done=first) as advance:
        for index in range(first, trainer.steps):
            loss = trainer.step(index, data)
            if (index + 1) % CHECKPOINT_EVERY == 0:
                checkpoint.save(work / "checkpoints", index + 1, trainer.state(), {"loss": loss}, keep=1)
                store.append_jsonl(work / "loss.jsonl", {"step": index + 1, "loss": loss})
            advance(1)


@torch.no_grad()
def reconstruction_accuracy(vae: AutoencoderKL, *, count: int = 200, seed: int = 0) -> dict[str, float]:
    """Share of rendered truth, by category, that the exact judge still passes after encoding and decoding."""
    vae.eval()
    accuracy = {}
    for category in SHAPE_CATEGORIES:
        rng = random.Random(f"reconstruction-{category}-{seed}")
        claims = [claim(category, rng) for _ in range(count)]
        pictures = autoencoder.pixels_of([render(lay_out(one, rng)) for one in claims])
        decoded = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
        pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        right = [
            all(verify(check, detect(image), background_of(image)) for check in checks(one))
            for one, image in zip(claims, (Image.fromarray(np.asarray(array)) for array in pixels), strict=True)
        ]
        accuracy[category] = sum(right) / count
    return accuracy
