"""What a pipeline of diffusers takes, by its configurations alone: parts of those shapes on the meta device.

Read this to see where the numbers of a dry run come from; what is kept for the backward pass, each model says itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ModelMixin
from transformers import AutoConfig

from selfportrait.models._denoiser import Denoiser
from selfportrait.models.base import Sizes, num_factors

__all__ = ["build", "measure"]

FEATURE_MAPS = 4  # at full resolution at once in a residual block: the block's input, its norm, a gate, a convolution


def build(folder: Path, denoiser: Denoiser, network: type[ModelMixin], encoders: Mapping[str, Any]) -> dict[str, Any]:
    """The network that learns, with its adapters, autoencoder, and text encoders where there are any."""
    with torch.device("meta"):
        parts: dict[str, Any] = {
            denoiser.part: network.from_config(network.load_config(folder, subfolder=denoiser.part)),
            "autoencoder": AutoencoderKL.from_config(AutoencoderKL.load_config(folder, subfolder="vae")),
        }
        for name, encoder in encoders.items():
            if (folder / name / "config.json").is_file():
                parts[name.replace("_", " ")] = encoder._from_config(AutoConfig.from_pretrained(folder / name))
    denoiser.make_trainable(parts[denoiser.part])
    return parts


def measure(
    parts: Mapping[str, Any],
    dtype: torch.dtype,
    denoiser: Denoiser,
    *,
    source: str,
    num_tokens: int,
    kept_bytes: int,
    decoded_at_once: int,
    is_vae_float32: bool = False,
) -> Sizes:
    """Count the parameters of parts that `build` made, and what they take; adapters are no part of their own."""
    counts = {name: _num_parameters(part, adapters=False) for name, part in parts.items()}
    network, codes, size = parts[denoiser.part], parts["autoencoder"].config, dtype.itemsize
    num_trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    pixels = (network.config.sample_size * 2 ** (len(codes.block_out_channels) - 1)) ** 2
    vae_size = 4 if is_vae_float32 else size
    own_bytes = (counts[denoiser.part] + _num_parameters(network, adapters=True)) * size
    encoder_bytes = (sum(counts.values()) - counts[denoiser.part]) * size + counts["autoencoder"] * (vae_size - size)
    return Sizes(
        source=source,
        parts=dict(sorted(counts.items(), key=lambda part: -part[1])),
        num_trained=num_trained,
        num_factors=num_factors(network.parameters()),
        what_learns=denoiser.what_learns,
        num_tokens=num_tokens,
        weight_bytes=own_bytes + encoder_bytes,
        trained_bytes=num_trained * size,
        cache_bytes=0,
        kept_bytes=kept_bytes,
        once_bytes=0,
        decoding_bytes=decoded_at_once * FEATURE_MAPS * codes.block_out_channels[0] * pixels * vae_size,
        encoder_bytes=encoder_bytes,
    )


def _num_parameters(part: torch.nn.Module, *, adapters: bool) -> int:
    return sum(value.numel() for name, value in part.named_parameters() if (".lora_" in name) == adapters)
