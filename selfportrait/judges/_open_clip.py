"""Checkpoints of open_clip as the `CLIPModel` of transformers: other names, and one matrix for three.

Read this when a checkpoint in open_clip's layout is refused.
"""

import re

import torch
from transformers import CLIPConfig, CLIPModel

from selfportrait.judges._checkpoints import Origin, State, load_exactly, renamed

__all__ = ["VIT_H_14", "clip_of_open_clip"]

VIT_H_14 = {
    "projection_dim": 1024,
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "projection_dim": 1024,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 224,
        "hidden_act": "gelu",
        "projection_dim": 1024,
    },
}
_RULES = {
    r"^module\.": "",
    r"^visual\.transformer\.resblocks\.": "vision_model.encoder.layers.",
    r"^transformer\.resblocks\.": "text_model.encoder.layers.",
    r"\.attn\.out_proj\.": ".self_attn.out_proj.",
    r"\.attn\.in_proj_(weight|bias)$": r".self_attn.in_proj.\1",
    r"\.ln_([12])\.": r".layer_norm\1.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
    r"^token_embedding\.": "text_model.embeddings.token_embedding.",
    r"^positional_embedding$": "text_model.embeddings.position_embedding.weight",
    r"^ln_final\.": "text_model.final_layer_norm.",
    r"^text_projection$": "text_projection.weight",
    r"^visual\.proj$": "visual_projection.weight",
    r"^visual\.class_embedding$": "vision_model.embeddings.class_embedding",
    r"^visual\.positional_embedding$": "vision_model.embeddings.position_embedding.weight",
    r"^visual\.conv1\.": "vision_model.embeddings.patch_embedding.",
    r"^visual\.ln_pre\.": "vision_model.pre_layrnorm.",  # the typo is the library's
    r"^visual\.ln_post\.": "vision_model.post_layernorm.",
}
_TURNED = ("text_projection.weight", "visual_projection.weight")  # multiplied from the other side


def clip_of_open_clip(state: State, sizes: dict[str, object], path: str, origin: Origin) -> CLIPModel:
    """A CLIPModel of those sizes with the weights of an open_clip; raises ValueError where they are not."""
    found: State = {}
    for key, value in renamed(state, _RULES, dropped=r"attn_mask$").items():
        if ".self_attn.in_proj." in key:
            found |= _thirds(key, value)
        else:
            found[key] = value.T if key in _TURNED and value.ndim == 2 else value
    return load_exactly(CLIPModel(CLIPConfig(**sizes)), found, path, origin)


def _thirds(key: str, value: torch.Tensor) -> State:
    return {
        re.sub(r"in_proj", f"{letter}_proj", key): part for letter, part in zip("qkv", value.chunk(3), strict=False)
    }
