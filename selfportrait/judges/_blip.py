"""BLIP in the names of its own repository as the classes of transformers, for the judges made of it.

Read this for what a published BLIP has that the library's defaults have not: 12 heads, and another epsilon.
"""

from selfportrait.judges._checkpoints import State, renamed

__all__ = ["EPSILON", "TEXT", "VISION_BASE", "VISION_LARGE", "of_blip"]

EPSILON = 1e-6  # of the layer norms of its vision transformer; the library has 1e-5
VISION_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 16,
    "layer_norm_eps": EPSILON,
}
VISION_LARGE = {
    **VISION_BASE,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
TEXT = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "bos_token_id": 30522,
}
_VISION = {
    r"^visual_encoder\.cls_token$": "vision_model.embeddings.class_embedding",
    r"^visual_encoder\.pos_embed$": "vision_model.embeddings.position_embedding",
    r"^visual_encoder\.patch_embed\.proj\.": "vision_model.embeddings.patch_embedding.",
    r"^visual_encoder\.blocks\.": "vision_model.encoder.layers.",
    r"^visual_encoder\.norm\.": "vision_model.post_layernorm.",
    r"^(vision_model\..*)\.attn\.qkv\.": r"\1.self_attn.qkv.",
    r"^(vision_model\..*)\.attn\.proj\.": r"\1.self_attn.projection.",
    r"^(vision_model\..*)\.norm([12])\.": r"\1.layer_norm\2.",
}


def of_blip(state: State, prefix: str = "") -> State:
    """The weights of a BLIP by the names of transformers; `prefix` is a regular expression of what stands before each.

    The numbers of positions, which are no weights, are left out.
    """
    return renamed(state, {prefix: "", **_VISION} if prefix else _VISION, dropped=r"position_ids$")
