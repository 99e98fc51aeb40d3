"""What a Stable Diffusion 3 pipeline takes, by its configurations alone: parts of those shapes on the meta device.

Read this to see where the numbers of a dry run come from, and by which formula activations are estimated.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import AutoConfig, CLIPTextModelWithProjection, T5EncoderModel

from selfportrait.models._denoiser import Denoiser
from selfportrait.models.base import Sizes

__all__ = ["measure"]

FEATURE_MAPS = 4  # at full resolution at once in a residual block: the block's input, its norm, a gate, a convolution
KEPT = {"lora": 15, "full": 25}  # numbers of the width that a token keeps a layer, counted on micro-sd3
FLOAT32_COPIES = 8  # bytes of the width beside them in a lower precision: what the norms compute in
ENCODERS = {
    "text_encoder": CLIPTextModelWithProjection,
    "text_encoder_2": CLIPTextModelWithProjection,
    "text_encoder_3": T5EncoderModel,
}


def measure(
    found: tuple[Path, str],
    dtype: torch.dtype,
    denoiser: Denoiser,
    *,
    num_t5_words: int,
    is_saving: bool,
    decoded_at_once: int,
) -> Sizes:
    """Count the parameters of a pipeline's parts; `denoiser` adds adapters and says what learns.

    A picture's places in the sequence are its patches, and those of its prompt: CLIP's, and `num_t5_words`. Formula, b
    being the bytes of a number and D the transformer's width: each keeps 25 b D bytes a layer for the backward pass,
    15 with adapters, and 8 D more where b is below 4; with gradient checkpointing b D a layer, and the rest for one.
    """
    folder, source = found
    parts = _parts(folder)
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    transformer, codes = parts["transformer"], parts["autoencoder"].config
    denoiser.make_trainable(transformer)
    num_adapted = sum(parameter.numel() for parameter in transformer.parameters()) - counts["transformer"]
    num_trained = sum(parameter.numel() for parameter in transformer.parameters() if parameter.requires_grad)
    config, size = transformer.config, dtype.itemsize
    width = config.num_attention_heads * config.attention_head_dim
    layer = width * (KEPT[denoiser.train] * size + FLOAT32_COPIES * (size < 4))
    kept = config.num_layers * size * width + layer if is_saving else config.num_layers * layer
    pixels = (config.sample_size * 2 ** (len(codes.block_out_channels) - 1)) ** 2
    num_places = (config.sample_size // config.patch_size) ** 2 + parts["text encoder"].config.max_position_embeddings
    return Sizes(
        source=source,
        parts=dict(sorted(counts.items(), key=lambda part: -part[1])),
        num_trained=num_trained,
        what_learns=denoiser.what_learns,
        num_tokens=num_places + num_t5_words,
        weight_bytes=(sum(counts.values()) + num_adapted) * size,
        trained_bytes=num_trained * size,
        cache_bytes=0,
        kept_bytes=kept,
        once_bytes=0,
        decoding_bytes=decoded_at_once * FEATURE_MAPS * codes.block_out_channels[0] * pixels * size,
    )


def _parts(folder: Path) -> dict[str, Any]:
    """Transformer, autoencoder and text encoders on the meta device; an encoder that the folder leaves out is left."""
    with torch.device("meta"):
        parts: dict[str, Any] = {
            "transformer": SD3Transformer2DModel.from_config(
                SD3Transformer2DModel.load_config(folder, subfolder="transformer")
            ),
            "autoencoder": AutoencoderKL.from_config(AutoencoderKL.load_config(folder, subfolder="vae")),
        }
        for name, encoder in ENCODERS.items():
            if (folder / name / "config.json").is_file():
                parts[name.replace("_", " ")] = encoder._from_config(AutoConfig.from_pretrained(folder / name))
    return parts
