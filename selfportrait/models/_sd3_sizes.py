"""What a Stable Diffusion 3 pipeline takes, by its configurations alone.

Read this to see by which formula activations are estimated.
"""

from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, T5EncoderModel

from selfportrait.models import _sizes
from selfportrait.models._denoiser import Denoiser
from selfportrait.models.base import Sizes

__all__ = ["measure"]

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
    parts = _sizes.build(folder, denoiser, SD3Transformer2DModel, ENCODERS)
    config, size = parts[denoiser.part].config, dtype.itemsize
    width = config.num_attention_heads * config.attention_head_dim
    layer = width * (KEPT[denoiser.train] * size + FLOAT32_COPIES * (size < 4))
    kept = config.num_layers * size * width + layer if is_saving else config.num_layers * layer
    num_places = (config.sample_size // config.patch_size) ** 2 + parts["text encoder"].config.max_position_embeddings
    return _sizes.measure(
        parts,
        dtype,
        denoiser,
        source=source,
        num_tokens=num_places + num_t5_words,
        kept_bytes=kept,
        decoded_at_once=decoded_at_once,
    )
