"""The cross-attention network of MPS: a picture's tokens read a prompt's, layer by layer.

Read this for what is unusual in it: all heads share one key and value, and a feed-forward runs beside each attention.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["CrossModel"]


class SwiGLU(nn.Module):
    """The second half of the channels gates the first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., 2 D) -> (..., D)."""
        value, gate = x.chunk(2, dim=-1)
        return F.silu(gate) * value


class CrossAttention(nn.Module):
    """A picture's tokens look at those of a text that the mask leaves."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head_width, bias=False)
        self.to_out = nn.Linear(heads * head_width, width, bias=False)
        self.ff = nn.Sequential(
            nn.Linear(width, 2 * hidden, bias=False), SwiGLU(), nn.Linear(hidden, width, bias=False)
        )

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, D), context (B, L, D) and mask (B, L), which is True for what counts -> (B, T, D)."""
        x = self.norm(x)
        key, value = self.to_kv(context).chunk(2, dim=-1)
        attended = _attended(self.to_q(x), key, value, self.heads, mask[:, None, None])
        out: torch.Tensor = self.to_out(attended) + self.ff(x)
        return out


class ParallelBlock(nn.Module):
    """A picture's tokens look at each other, with rotary positions, beside a feed-forward on the same input."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.sizes = (heads * head_width, head_width, head_width, 2 * hidden)
        self.norm = nn.LayerNorm(width)
        self.fused_attn_ff_proj = nn.Linear(width, sum(self.sizes), bias=False)
        self.attn_out = nn.Linear(heads * head_width, width, bias=False)
        self.ff_out = nn.Sequential(SwiGLU(), nn.Linear(hidden, width, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        query, key, value, hidden = self.fused_attn_ff_proj(self.norm(x)).split(self.sizes, dim=-1)
        angles = _angles(x.shape[1], key.shape[2], x.device)  # (T, head)
        turned = torch.cat([_turned(one, angles) for one in query.chunk(self.heads, dim=-1)], dim=-1)
        attended = _attended(turned, _turned(key, angles), value, self.heads, None)
        out: torch.Tensor = self.attn_out(attended) + self.ff_out(hidden)
        return out


class CrossModel(nn.Module):
    """Layers of a cross-attention and a block, each added to its input; the names are those of the published file."""

    def __init__(self, width: int, *, layers: int = 4, heads: int = 16, head_width: int = 64) -> None:
        super().__init__()
        sizes = (width, heads, head_width, 4 * width)
        self.layers = nn.ModuleList(
            nn.ModuleList([CrossAttention(*sizes), ParallelBlock(*sizes)]) for _ in range(layers)
        )

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, D) of pictures after they read the tokens (B, L, D) that the mask (B, L) leaves."""
        layer: Any
        for layer in self.layers:
            attend, block = layer
            x = x + attend(x, context, mask)
            x = x + block(x)
        return x


def _attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention of several heads (B, T, heads x d) on one key and value (B, L, d)."""
    split = query.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, T, d)
    keys, values = (tensor[:, None].expand(-1, heads, -1, -1) for tensor in (key, value))
    out = F.scaled_dot_product_attention(split, keys, values, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)  # (B, T, heads x d)


def _angles(length: int, width: int, device: torch.device) -> torch.Tensor:
    frequencies = 10_000 ** -(torch.arange(0, width, 2, device=device).float() / width)
    angles = torch.arange(length, device=device).float()[:, None] * frequencies
    return torch.cat([angles, angles], dim=-1)  # (T, width)


def _turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()).to(x.dtype)
