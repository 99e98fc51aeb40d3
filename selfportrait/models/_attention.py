"""Joint attention for SD3 pipelines without a T5 encoder, at a fraction of its usual cost.

diffusers stands zeros in for a missing T5: 256 equal context tokens. They carry no position, so they stay equal
through every block, and softmax over n equal keys is softmax over one key whose logit is raised by log n.
"""

import math

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention

__all__ = ["RepeatedTokenAttention"]


class RepeatedTokenAttention:
    """Joint attention in which the last context token counts as `repeats` equal tokens."""

    def __init__(self, repeats: int) -> None:
        self.bias = math.log(repeats)

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Follow `JointAttnProcessor2_0` (diffusers) but for the raised logit; shapes (B, T, D)."""
        heads = (hidden_states.shape[0], -1, attn.heads, attn.to_q.out_features // attn.heads)
        query = _normed(attn.to_q(hidden_states).view(heads).transpose(1, 2), attn.norm_q)  # (B, heads, T, d)
        key = _normed(attn.to_k(hidden_states).view(heads).transpose(1, 2), attn.norm_k)
        value = attn.to_v(hidden_states).view(heads).transpose(1, 2)
        bias = None
        if encoder_hidden_states is not None:
            context = encoder_hidden_states
            added_query = attn.add_q_proj(context).view(heads).transpose(1, 2)
            added_key = attn.add_k_proj(context).view(heads).transpose(1, 2)
            query = torch.cat([query, _normed(added_query, attn.norm_added_q)], dim=2)
            key = torch.cat([key, _normed(added_key, attn.norm_added_k)], dim=2)
            value = torch.cat([value, attn.add_v_proj(context).view(heads).transpose(1, 2)], dim=2)
            bias = query.new_zeros(key.shape[2])
            bias[-1] = self.bias
            bias = bias.expand(query.shape[2], -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        attended = attended.transpose(1, 2).flatten(2)
        length = hidden_states.shape[1]
        image: torch.Tensor = attn.to_out[1](attn.to_out[0](attended[:, :length]))
        if encoder_hidden_states is None:
            return image
        context = attended[:, length:]
        return image, context if attn.context_pre_only else attn.to_add_out(context)


def _normed(states: torch.Tensor, norm: torch.nn.Module | None) -> torch.Tensor:
    return states if norm is None else norm(states)
