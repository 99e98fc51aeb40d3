"""Builders of tiny networks with random weights, of the classes that judges load."""

from typing import Any

import numpy as np
import torch
from PIL import Image

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT_LENGTH = 24


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def randomized(network: torch.nn.Module, seed: int = 0, spread: float = 0.3) -> Any:
    """Weights far from what a new network has, so that every one of them matters to the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "logit_scale":
                middle = 1 if "norm" in name.lower() and name.endswith("weight") else 0
                parameter.copy_(middle + spread * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def clip_sizes() -> dict[str, Any]:
    """The sizes of a tiny CLIP, with the ids of `clip_tokenizer`."""
    tokenizer = clip_tokenizer()
    text = {
        **VISION, "vocab_size": len(tokenizer), "max_position_embeddings": TEXT_LENGTH, "hidden_act": "gelu",
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "projection_dim": 16,
    }  # fmt: skip
    vision = {**VISION, "image_size": 32, "patch_size": 8, "hidden_act": "gelu", "projection_dim": 16}
    return {"projection_dim": 16, "text_config": text, "vision_config": vision}


def clip_tokenizer() -> Any:
    from selfportrait.micro.denoisers import new_tokenizer

    return new_tokenizer(["red", "cat"])


def new_clip(seed: int = 0) -> Any:
    from transformers import CLIPConfig, CLIPModel

    return randomized(CLIPModel(CLIPConfig(**clip_sizes())), seed)


BERT_WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "yes", "?", "a", "red", "green", "blue", "cat", "dog"),
    *(chr(code) for code in range(ord("b"), ord("z") + 1)),
    *(f"##{chr(code)}" for code in range(ord("a"), ord("z") + 1)),
]
BLIP_TEXT = {
    **VISION, "vocab_size": len(BERT_WORDS) + 2, "max_position_embeddings": 40, "bos_token_id": len(BERT_WORDS),
    "sep_token_id": 3, "pad_token_id": 0, "eos_token_id": 3,
}  # fmt: skip
BLIP_VISION = {**VISION, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6}


def blip_sizes() -> dict[str, Any]:
    return {"text_config": {**BLIP_TEXT, "encoder_hidden_size": 32}, "vision_config": BLIP_VISION}


def new_blip() -> Any:
    from transformers import BlipConfig, BlipForQuestionAnswering

    return randomized(BlipForQuestionAnswering(BlipConfig(**blip_sizes())), spread=0.5)
