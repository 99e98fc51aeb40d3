"""One more token for every row of a small decoder on a CPU, in fewer and larger operations than its layers take.

Read this to see how little a layer does for one token: with matrices this small most of a step's time goes into calling
operations and into reading keys and values. The queries', keys' and values' matrices are one here, gate and up another;
adapters are added to them, norms' weights multiplied in. What the rows of a prompt share is read once for all of them.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

__all__ = ["PackedRows"]

LARGEST = 2**26  # parameters; the copies of larger matrices would cost more than the calls that they save
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
FIXED = ("default", "linear", "llama3", "yarn")  # rotary frequencies that are the same however long a row is


class PackedRows:
    """Rows that go on from prompts, with the layers as they are now: a later update of weights or adapters is not seen.

    `prompts` are each layer's keys and values (R, K, P, d) of the prompts, which were read; row i goes on from prompt
    index[i] and counts its tokens where mask[i] (B, P) is True. A row takes at most `steps` tokens.
    """

    @torch.inference_mode()
    def __init__(
        self, decoder: Any, prompts: list[tuple[Tensor, Tensor]], index: Tensor, mask: Tensor, *, steps: int
    ) -> None:
        count = math.gcd(*torch.unique_consecutive(index, return_counts=True)[1].tolist())
        first = decoder.layers[0].self_attn
        key_heads, _, dim = prompts[0][0].shape[1:]
        self._sizes = sizes = _Sizes(len(index) // count, count, key_heads, first.num_key_value_groups, dim)
        self._layers = [
            _Layer(layer, keys[index[::count]], values[index[::count]], sizes, steps)
            for layer, (keys, values) in zip(decoder.layers, prompts, strict=True)
        ]
        places = mask.sum(1, keepdim=True) + torch.arange(steps)  # (B, steps)
        cos, sin = (part[..., : dim // 2] for part in decoder.rotary_emb(prompts[0][0], position_ids=places))
        self._angles = torch.complex(cos, sin)[:, :, None]  # (B, steps, 1, d / 2)
        self._turn = cos.new_ones(len(index), (sizes.shared + 2) * key_heads, dim // 2, dtype=self._angles.dtype)
        self._unseen = None if mask.all() else torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)[::count]
        self._scale, self._norm, self._step = first.scaling, decoder.norm, 0

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
            and decoder.rotary_emb.rope_type in FIXED
            and all(type(layer) is LlamaDecoderLayer for layer in decoder.layers)
            and not any(module._forward_hooks or module._forward_pre_hooks for module in decoder.layers.modules())
            and sum(parameter.numel() for parameter in decoder.layers.parameters()) <= LARGEST
        )

    @torch.inference_mode()
    def step(self, states: Tensor) -> Tensor:
        """Run each row's next token, embedded (B, D), through all layers and the last norm: (B, D)."""
        angles, key_heads = self._angles[:, self._step], self._sizes.key_heads
        self._turn[:, : -2 * key_heads] = angles * self._scale
        self._turn[:, -2 * key_heads : -key_heads] = angles
        for layer in self._layers:
            states = layer(states, self._turn, self._unseen, self._step)
        self._step += 1
        return F.rms_norm(states, self._norm.weight.shape, self._norm.weight, self._norm.variance_epsilon)

    def packed(self, layer: torch.nn.Linear) -> Callable[[Tensor], Tensor]:
        """A layer that reads states of every step, as it is now; a watched one or one of another kind stays itself."""
        is_plain = type(layer) is torch.nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)
        return _packed(layer, rows=len(self._turn)).times if is_plain else layer


class _Sizes(NamedTuple):
    """G groups of c rows, one after the other, go on from the same prompt; r queries share each of K keys of d numbers.

    N = G K c is the number of keys that a token brings.
    """

    groups: int
    rows: int
    key_heads: int
    shared: int
    dim: int

    def order(self) -> Tensor:
        """Where the numbers of r K queries, K keys and K values are in a layer's own order, K r queries first."""
        heads = torch.tensor([self.shared, 1, 1]) * self.key_heads * self.dim
        queries, keys, values = torch.arange(int(heads.sum())).split(heads.tolist())
        queries = queries.view(self.key_heads, self.shared, self.dim).transpose(0, 1)
        return torch.cat([_paired(queries).flatten(), _paired(keys.view(-1, self.dim)).flatten(), values])


class _Layer:
    """A layer with what its rows attend to: the prompts' keys and values (G K, P, d), and of their own (N, steps, d).

    Numbers i and i + d / 2 of a query or key, which turn together with a token's place, are beside each other here: one
    complex number, whose turn is one product.
    """

    def __init__(self, layer: LlamaDecoderLayer, keys: Tensor, values: Tensor, sizes: _Sizes, steps: int) -> None:
        attention, mlp, self.sizes = layer.self_attn, layer.mlp, sizes
        before, between = layer.input_layernorm, layer.post_attention_layernorm
        self.epsilon = torch.tensor(before.variance_epsilon * len(before.weight)).sqrt()
        pack = partial(_packed, rows=sizes.groups * sizes.rows)
        self.qkv = pack(attention.q_proj, attention.k_proj, attention.v_proj, norm=before, order=sizes.order())
        self.out = pack(attention.o_proj)
        self.gate_up, self.down = pack(mlp.gate_proj, mlp.up_proj, norm=between), pack(mlp.down_proj)
        self.activation = mlp.act_fn
        self.keys, self.values = _paired(keys).flatten(0, 1), values.flatten(0, 1)
        self.own = keys.new_empty(2, len(keys), sizes.key_heads, sizes.rows, steps, sizes.dim)
        self.own_keys, self.own_values = self.own.flatten(1, 3)

    def __call__(self, states: Tensor, turn: Tensor, unseen: Tensor | None, step: int) -> Tensor:
        """Run states (B, D); `turn` (B, r K + 2 K, d / 2) turns queries and keys, and scales queries.

        `unseen` (G, P) is added to what queries find in the prompts: 0, or minus infinity for padding.
        """
        qkv = self.qkv.times(_normed(states, self.epsilon))
        states = self.out.added(states, self.attend(qkv, turn, unseen, step))
        gate, up = self.gate_up.times(_normed(states, self.epsilon)).chunk(2, -1)
        return self.down.added(states, self.activation(gate).mul_(up))

    def attend(self, qkv: Tensor, turn: Tensor, unseen: Tensor | None, step: int) -> Tensor:
        """What each row sees with its new queries in its prompt, its tokens so far and the new one: (B, K r d)."""
        groups, rows, key_heads, shared, dim = self.sizes
        turned = torch.view_as_real(torch.view_as_complex(qkv.view(*turn.shape, 2)) * turn)
        parts = turned.view(groups, rows, shared + 2, key_heads, dim).permute(2, 0, 3, 1, 4)  # (r + 2, G, K, c, d)
        self.own[..., step, :] = parts[-2:]
        queries = parts[:-2].movedim(0, -2).reshape(-1, shared, dim)  # (N, r, d)

        together = groups * key_heads, rows * shared, -1  # all that read the same keys of a prompt
        there = torch.bmm(queries.view(together), self.keys.mT)  # (G K, c r, P)
        if unseen is not None:
            there.view(groups, -1, there.shape[-1]).add_(unseen[:, None])
        since = torch.bmm(queries, self.own_keys[:, : step + 1].mT)  # (N, r, step + 1)
        weights = torch.cat([there.view(*since.shape[:2], -1), since], -1).softmax(-1)

        length = there.shape[-1]
        seen = torch.bmm(weights.view(together)[..., :length], self.values).view_as(queries)
        seen = torch.baddbmm(seen, weights[..., length:], self.own_values[:, : step + 1])
        return seen.view(groups, key_heads, rows, -1).transpose(1, 2).reshape(len(qkv), -1)


class _Matrix:
    """A matrix (out, in) and its bias (out,), if there is one, as oneDNN keeps it for products with B rows.

    torch has these operations for what `torch.compile` freezes. With a few rows they take two thirds of the time of
    `F.linear`, which puts the matrix in order at every call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows) if HAS_ONEDNN else weight
        self.bias = bias

    def times(self, states: Tensor) -> Tensor:
        """States (B, in) to (B, out)."""
        if not HAS_ONEDNN:
            return F.linear(states, self.weight, self.bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "none", [], "")
        return found

    def added(self, residual: Tensor, states: Tensor) -> Tensor:
        """The same, added to what is there."""
        if not HAS_ONEDNN:
            return residual + F.linear(states, self.weight, self.bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(states, residual, self.weight, self.bias, "add")
        return found


def _packed(*parts: Any, rows: int, norm: Any = None, order: Tensor | None = None) -> _Matrix:
    """One matrix for linear layers that read the same, their active adapters added; `norm` is that before them.

    What `_normed` leaves out of that norm, its weight and sqrt(D), is in the matrix; `order` is that of its outputs.
    """
    biases = [part.bias for part in parts if part.bias is not None]
    weight = torch.cat([_weight(part) for part in parts])  # (out, in)
    bias = torch.cat(biases) if biases else None
    if norm is not None:
        weight = weight * norm.weight * len(norm.weight) ** 0.5
    if order is not None:
        weight, bias = weight[order], None if bias is None else bias[order]
    return _Matrix(weight, bias, rows)


def _weight(part: Any) -> Tensor:
    """A linear layer's weight (out, in) with its active adapters."""
    weight: Tensor = part.weight
    if isinstance(part, LoraLinear) and not part.merged and not part.disable_adapters:
        for name in part.active_adapters:
            weight = weight + part.get_delta_weight(name)
    return weight


def _paired(numbers: Tensor) -> Tensor:
    """Numbers (..., d) with i and i + d / 2 beside each other."""
    paired: Tensor = numbers.unflatten(-1, (2, -1)).mT.flatten(-2)
    return paired


def _normed(states: Tensor, epsilon: Tensor) -> Tensor:
    """States (B, D) over the root of their sum of squares; x / sqrt(mean x^2 + e) is sqrt(D) times that."""
    length: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return states / length.hypot_(epsilon)
