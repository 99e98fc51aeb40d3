"""What the measurements share: a model, a batch of kept groups, one GPO update on it, and the bare network on it.

Read this to see what exactly is compared. Weights, latents and rewards are random: they change no cost.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from rich.table import Table

from selfportrait import console
from selfportrait.draws.forward_noise import forward_noise
from selfportrait.losses.gpo import gpo as gpo_loss
from selfportrait.micro import denoisers, flow
from selfportrait.micro.autoencoder import new_autoencoder
from selfportrait.models.sd3 import SD3
from selfportrait.recipes.gpo import Algorithm, Groups, Learner, _learn
from selfportrait.selection.standardize import standardize
from selfportrait.store import Run
from selfportrait.training.ema import EMA
from selfportrait.training.health import Monitor
from selfportrait.training.optimizer import Optimizer
from selfportrait.types import Prompt

__all__ = [
    "BATCHES",
    "DRAWS",
    "bare_passes",
    "load",
    "make_groups",
    "make_learner",
    "pipeline",
    "show",
    "update",
    "verdict",
]

BATCHES = {8: 1, 32: 2, 128: 8}  # rows: groups that they are made of
DRAWS = 5  # k of Algorithm 1
NUM_INFERENCE_STEPS, GUIDANCE_SCALE = 10, 3.0
TEXT = "two red circles on a white background"
STEP = 1  # it decides the draws; the tripwires run in the first update, which warms up


@contextmanager
def pipeline(path: str | None, *, is_wide: bool = False) -> Iterator[str]:
    """The pipeline of that path; None makes one of the embedded architecture with random weights, for a while.

    `is_wide` makes a larger one, whose weights weigh as much beside a row's activations as those of published models.
    """
    if path is not None:
        yield path
        return
    console.silence_libraries()
    autoencoder = new_autoencoder()
    autoencoder.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    with tempfile.TemporaryDirectory() as folder:
        made = flow.new_pipeline(autoencoder, spells=False, seed=0)
        if is_wide:
            widen(made)
        denoisers.save(made, Path(folder))
        yield folder


def widen(made: StableDiffusion3Pipeline) -> None:
    """A transformer of 42 M parameters on 256 patches, and an autoencoder of 10 M for pictures of 128 pixels."""
    heads, head_dim = 6, 64
    config = dict(made.transformer.config) | {"num_layers": 8, "sample_size": 32, "patch_size": 2}
    config |= {"num_attention_heads": heads, "attention_head_dim": head_dim, "pos_embed_max_size": 16}
    transformer = SD3Transformer2DModel.from_config(config | {"caption_projection_dim": heads * head_dim})
    codes = dict(made.vae.config) | {"block_out_channels": (64, 128, 256), "sample_size": 128}
    autoencoder = AutoencoderKL.from_config(codes)
    autoencoder.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    made.register_modules(transformer=transformer, vae=autoencoder)


def load(path: str, *, train: str, device: str = "auto", is_saving: bool = False) -> SD3:
    """The flow model as the demo's config sets it up, with a batch as large as the largest measured.

    `is_saving` turns gradient checkpointing on.
    """
    console.silence_libraries()
    return SD3(
        path=path,
        train=train,  # type: ignore[arg-type]
        num_inference_steps=NUM_INFERENCE_STEPS,
        guidance_scale=GUIDANCE_SCALE,
        batch_size=max(BATCHES),
        device=device,
        gradient_checkpointing=is_saving,
    ).load()


def make_groups(model: SD3, rows: int) -> Groups:
    """Groups of candidates that were sampled and judged, all with spread."""
    num_prompts = BATCHES[rows]
    prompts = [Prompt(id=f"prompt-{index}", text=TEXT) for index in range(num_prompts)]
    config = model.transformer.config
    chance = torch.Generator().manual_seed(rows)
    latents = torch.randn(rows, config.in_channels, config.sample_size, config.sample_size, generator=chance)
    rewards = torch.rand(num_prompts, rows // num_prompts, generator=chance)
    conditioning = model.encode([prompt.text for prompt in prompts])
    return Groups(prompts, conditioning, latents.to(model.device), rewards, *standardize(rewards))


def make_learner(model: SD3, *, ema: bool) -> Learner:
    """What the recipe trains with, at a learning rate that leaves the model as it is."""
    active = Optimizer(learning_rate=1e-12).start(model.trainable())
    return Learner(model, active, EMA(active.weights, decay=0.9) if ema else None, Monitor())


def update(learner: Learner, groups: Groups, run: Run) -> Callable[[], object]:
    """One GPO update over k draws, as the recipe takes it: draws, passes, checks, clipping, AdamW, EMA, metrics."""
    num_prompts, group_size = groups.rewards.shape
    algorithm = Algorithm(group_size, DRAWS, 1, num_prompts, True)
    return partial(_learn, learner, groups, forward_noise, gpo_loss, algorithm, run, 0, STEP)


def bare_passes(model: SD3, groups: Groups) -> Callable[[], None]:
    """k forward and backward passes of the same network on the same rows, and nothing else."""
    rows, num_prompts = len(groups.latents), len(groups.prompts)
    context, pooled = groups.conditioning.repeat(rows // num_prompts)
    noisy = torch.randn_like(groups.latents)
    target = torch.randn_like(groups.latents)
    timestep = torch.linspace(1, 1000, rows, device=model.device)
    parameters = list(model.trainable().values())

    def passes() -> None:
        for parameter in parameters:
            parameter.grad = None
        for _ in range(DRAWS):
            velocity = model.transformer(noisy, context, pooled, timestep, return_dict=False)[0]
            F.mse_loss(velocity, target).backward()

    return passes


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.show(table)


def verdict(ratio: float, limit: float | None) -> str:
    """Say whether a ratio is within its limit."""
    if limit is None:
        return "-"
    return "[green]PASS[/]" if ratio <= limit else "[red]over[/]"
