"""One more token for every row of a small decoder on a CPU, in fewer and larger operations than its layers take.

Read this to see how little a layer does for one token: with matrices this small most of a step's time goes into calling
operations. The queries', keys' and values' matrices are one here, gate and up another; adapters are added to them.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

__all__ = ["PackedDecoder"]

LARGEST = 2**26  # parameters; the copies of larger matrices would cost more than the calls that they save


class PackedDecoder:
    """The layers of a decoder as they are now: a later update of its weights or adapters does not show.

    `step` runs one token a row, with the keys and values of `_decoder.KeyValues`.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._layers = [_Layer(layer) for layer in decoder.layers]

    @staticmethod
    def fits(decoder: Any) -> bool:
        """Whether this is a small Llama decoder in full precision on a CPU, without hooks and without gradients.

        In lower precision the sum of a weight and its adapters would lose the adapters' last digits.
        """
        weight = decoder.norm.weight
        return bool(
            not torch.is_grad_enabled()
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and all(type(layer) is LlamaDecoderLayer for layer in decoder.layers)
            and not any(module._forward_hooks or module._forward_pre_hooks for module in decoder.layers.modules())
            and sum(parameter.numel() for parameter in decoder.layers.parameters()) <= LARGEST
        )

    def step(self, states: torch.Tensor, places: torch.Tensor, mask: torch.Tensor | None, cache: Any) -> torch.Tensor:
        """Run states (B, D) at places (B, 1); returns the last states after the norm (B, D)."""
        cos, sin = self._decoder.rotary_emb(states, position_ids=places)  # (B, 1, d) each
        first, second = sin.chunk(2, -1)
        rotary = cos[:, None], torch.cat([-first, second], -1)[:, None]
        for index, layer in enumerate(self._layers):
            states = layer(states, rotary, mask, cache, index)
        normed: torch.Tensor = self._decoder.norm(states)
        return normed


class _Layer:
    def __init__(self, layer: LlamaDecoderLayer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.dim = attention.head_dim
        self.scale = attention.scaling
        self.heads, self.key_heads = (part.weight.shape[0] // self.dim for part in (attention.q_proj, attention.k_proj))
        self.first_norm, self.second_norm = layer.input_layernorm, layer.post_attention_layernorm
        self.qkv = _packed(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = _packed(attention.o_proj)
        self.gate_up, self.down = _packed(mlp.gate_proj, mlp.up_proj), _packed(mlp.down_proj)
        self.activation = mlp.act_fn

    def __call__(
        self,
        states: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        cache: Any,
        index: int,
    ) -> torch.Tensor:
        heads, key_heads, (cos, sin) = self.heads, self.key_heads, rotary
        qkv = self.qkv.times(_normed(states, self.first_norm)).view(len(states), -1, 1, self.dim)
        turned = qkv[:, : heads + key_heads]
        turned = torch.addcmul(turned * cos, turned.roll(self.dim // 2, -1), sin)
        keys, values = cache.update(turned[:, heads:], qkv[:, heads + key_heads :], index)
        seen = F.scaled_dot_product_attention(
            turned[:, :heads], keys, values, mask, scale=self.scale, enable_gqa=heads != key_heads
        )
        states = self.out.added(states, seen.reshape(len(states), -1))
        gate, up = self.gate_up.times(_normed(states, self.second_norm)).chunk(2, -1)
        return self.down.added(states, self.activation(gate).mul_(up))


class _Matrix(NamedTuple):
    """A matrix (in, out) with its bias (out,), if there is one."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def times(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, in) to (B, out)."""
        return states @ self.weight if self.bias is None else torch.addmm(self.bias, states, self.weight)

    def added(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The same, added to what is there."""
        found = torch.addmm(residual, states, self.weight)
        return found if self.bias is None else found + self.bias


def _packed(*parts: Any) -> _Matrix:
    """One matrix for linear layers that read the same, their active adapters added."""
    biases = [part.bias for part in parts if part.bias is not None]
    return _Matrix(torch.cat([_weight(part) for part in parts]).t().contiguous(), torch.cat(biases) if biases else None)


def _weight(part: Any) -> torch.Tensor:
    """A linear layer's weight (out, in) with its active adapters."""
    weight: torch.Tensor = part.weight
    if isinstance(part, LoraLinear) and not part.merged and not part.disable_adapters:
        for name in part.active_adapters:
            weight = weight + part.get_delta_weight(name)
    return weight


def _normed(states: torch.Tensor, norm: Any) -> torch.Tensor:
    return F.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)
