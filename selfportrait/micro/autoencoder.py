"""Training the autoencoder of the micro pipelines: 64x64 pictures to 16x16 latents of 4 channels and back.

Read this to rebuild it; `selfportrait micro build` calls it. Dense scenes teach it faster than prompts' scenes would.
"""

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from selfportrait.micro.scenes import place_word, scatter
from selfportrait.micro.words import words
from selfportrait.micro.world import Scene, render

__all__ = ["new_autoencoder", "pixels_of", "save", "train_autoencoder"]

WIDTHS = (16, 32, 64)
LATENT_CHANNELS = 4
LEARNING_RATE, WARMUP, BATCH = 1.5e-3, 100, 16
KL_WEIGHT = 2e-6  # of the sum over latent elements
WORD_SHARE = 0.3


def new_autoencoder() -> AutoencoderKL:
    """A real `AutoencoderKL` of 0.65 M parameters that halves the picture twice."""
    depth = len(WIDTHS)
    return AutoencoderKL(
        block_out_channels=WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def pixels_of(images: list[Image.Image]) -> torch.Tensor:
    """Stack RGB pictures as (B, 3, H, W) in [-1, 1]."""
    stacked = np.stack([np.asarray(image, dtype=np.float32) for image in images])  # (B, H, W, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def _batch(seed: int, step: int) -> torch.Tensor:
    rng = random.Random(f"autoencoder-{seed}-{step}")
    vocabulary = words()
    scenes = [
        Scene(word=place_word(rng.choice(vocabulary), rng))
        if rng.random() < WORD_SHARE
        else scatter(rng, rng.randint(1, 14))
        for _ in range(BATCH)
    ]
    return pixels_of([render(scene) for scene in scenes])


def train_autoencoder(
    model: AutoencoderKL, *, steps: int, seed: int, device: str = "cpu", on_step: Callable[[int, float], None]
) -> None:
    """Train in place on squared plus half the absolute error, then fix the latents' scale in the config."""
    torch.manual_seed(seed)
    model.to(device).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / WARMUP, 1) * (0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1))) + 0.01,
    )
    for step in range(steps):
        pictures = _batch(seed, step).to(device)
        with torch.autocast(device, torch.bfloat16):
            posterior = model.encode(pictures).latent_dist
            drawn = model.decode(posterior.sample()).sample
            divergence = posterior.kl().mean()
        error = drawn.float() - pictures
        loss = error.square().mean() + 0.5 * error.abs().mean() + KL_WEIGHT * divergence
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        on_step(step, float(loss.detach()))
    _set_latent_scale(model, seed, device)


@torch.no_grad()
def _set_latent_scale(model: AutoencoderKL, seed: int, device: str) -> None:
    """Write the latents' mean and scale into the config, so that the pipeline works on unit-variance latents."""
    model.eval()
    batches = [model.encode(_batch(seed, -index - 1).to(device)).latent_dist.mean for index in range(32)]
    latents = torch.cat(batches)
    model.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std()))


def save(model: AutoencoderKL, folder: Path) -> None:
    """Save in half precision: 1.3 MB."""
    model.half().save_pretrained(folder)
    model.float()
