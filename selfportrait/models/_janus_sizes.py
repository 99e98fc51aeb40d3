"""What a Janus takes, by its configuration alone: a model of that shape on the meta device, without memory or weights.

Read this to see where the numbers of a dry run come from, and by which formulas activations are estimated.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import JanusConfig, JanusForConditionalGeneration

from selfportrait.models._janus import load_config
from selfportrait.models.base import Sizes, num_factors

__all__ = ["known_config", "measure"]

FEATURE_MAPS = 4  # at full resolution at once in a residual block: the block's input, its norm, a gate, a convolution
LOGITS_BYTES = 12  # of a code besides its logit: the logit and its probability in float32, and a gradient
PARTS = {
    "lm_head": "word head",
    "model.language_model": "language model",
    "model.vision_model": "vision encoder",
    "model.aligner": "picture aligners",
    "model.generation_aligner": "picture aligners",
    "model.generation_embeddings": "picture embeddings",
    "model.generation_head": "picture head",
    "model.vqmodel": "VQ tokenizer",
}


def _janus_pro(*, width: int, layers: int, heads: int, feed_forward: int) -> dict[str, Any]:
    """Janus-Pro: a DeepSeek language model, SigLIP-L/384 and VQ-16 with 16,384 codes of 8, which are JanusConfig's own.

    Source: `convert_janus_weights_to_hf.py` of transformers for what a checkpoint says and what it leaves at the
    defaults; OSPO's code (30 layers) and the technical report (https://arxiv.org/abs/2501.17811) for the depth, heads
    and width; the base models, DeepSeek-LLM 1.3B and 7B, for feed-forward width and the 102,400 words.
    """
    return {
        "text_config": {
            "model_type": "llama",
            "vocab_size": 102_400,
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": 16_384,
        },
        "vision_config": {"projection_dim": width},
        "vq_config": {"projection_dim": width, "image_token_embed_dim": width},
        "tie_word_embeddings": False,
    }


PUBLISHED = {
    "deepseek-community/Janus-Pro-1B": _janus_pro(width=2048, layers=24, heads=16, feed_forward=5632),
    "deepseek-community/Janus-Pro-7B": _janus_pro(width=4096, layers=30, heads=32, feed_forward=11_008),
}


def known_config(path: str) -> tuple[JanusConfig, str] | None:
    """A configuration and where it is from: the folder, the hub's cache, or published numbers; None for neither."""
    if Path(path).is_dir():
        return load_config(path), f"{path}/config.json"
    cached = try_to_load_from_cache(path, "config.json")
    if isinstance(cached, str):
        return load_config(str(Path(cached).parent)), f"config.json of {path} in the hub's cache"
    if path in PUBLISHED:
        return JanusConfig(**PUBLISHED[path]), f"published numbers of {path}, kept in the package; nothing was read"
    return None


def measure(
    found: tuple[JanusConfig, str],
    dtype: torch.dtype,
    prepare: Callable[[Any], None],
    *,
    what_learns: str,
    is_saving: bool,
    decoded_at_once: int,
) -> Sizes:
    """Count the parameters of a model of that configuration; `prepare` adds adapters and says what learns.

    Formulas, b being the bytes of a number, D the decoder's width, I its feed-forward width, V the picture's codes: a
    token keeps b (5 D + 2 D_kv + 4 I) + 8 D bytes a layer for the backward pass (inputs of the projections, query,
    key, value and result of attention, four products of the gate, two norms in float32) and V (b + 12) for its logits.
    With gradient checkpointing it keeps b D a layer and the rest for one layer, and the logits are those of one row.
    """
    config, source = found
    with torch.device("meta"):
        model = JanusForConditionalGeneration._from_config(config, dtype=dtype)
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = next(part for prefix, part in PARTS.items() if name.startswith(prefix + "."))
        parts[part] = parts.get(part, 0) + parameter.numel()
    prepare(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    text, codes, size = config.text_config, config.vq_config, dtype.itemsize
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    pairs = 2 * text.num_key_value_heads * head_dim  # a key and a value
    layer = size * (5 * text.hidden_size + pairs + 4 * text.intermediate_size) + 8 * text.hidden_size
    logits = codes.num_embeddings * (size + LOGITS_BYTES)
    kept = text.num_hidden_layers * size * text.hidden_size + layer if is_saving else text.num_hidden_layers * layer
    pixels = (codes.num_patches * 2 ** (len(codes.channel_multiplier) - 1)) ** 2
    return Sizes(
        source=source,
        parts=dict(sorted(parts.items(), key=lambda part: -part[1])),
        num_trained=sum(parameter.numel() for parameter in trained),
        num_factors=num_factors(trained),
        what_learns=what_learns,
        num_tokens=codes.num_patches**2,
        weight_bytes=sum(parameter.nbytes for parameter in model.parameters()),
        trained_bytes=sum(parameter.nbytes for parameter in trained),
        cache_bytes=text.num_hidden_layers * pairs * size,
        kept_bytes=kept if is_saving else kept + logits,
        once_bytes=logits if is_saving else 0,
        decoding_bytes=decoded_at_once
        * FEATURE_MAPS
        * codes.base_channels
        * codes.channel_multiplier[0]
        * pixels
        * size,
    )
