"""A Llama decoder of transformers run layer by layer, with keys and values that rows of one prompt share.

Read this to see how a prompt is read once for all its candidates. `LlamaModel.forward` would build a mask over all of
a static cache at every token; here a row attends to what is filled, without a mask where nothing is padding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from selfportrait.models._packed import PackedRows
from selfportrait.models._tokens import EncodedTokens

__all__ = ["Continuation", "KeyValues", "forward", "positions", "visible"]

SHORT = 128  # tokens a row; with more, plain attention keeps too much for the backward pass


class KeyValues:
    """The keys and values of every layer, in room that is allocated once; a layer calls `update` as a cache's."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._filled: list[int] = []

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in a layer's new keys and values (B, heads, Q, d); returns all that it has now."""
        if layer == len(self._layers):
            shape = (*keys.shape[:2], self.room, keys.shape[3])
            self._layers.append((keys.new_empty(shape), values.new_empty(shape)))
            self._filled.append(0)
        start, end = self._filled[layer], self._filled[layer] + keys.shape[2]
        assert end <= self.room
        all_keys, all_values = self._layers[layer]
        all_keys[:, :, start:end] = keys
        all_values[:, :, start:end] = values
        self._filled[layer] = end
        return all_keys[:, :, :end], all_values[:, :, :end]

    def layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The keys and values of every layer so far."""
        return [
            (keys[:, :, :filled], values[:, :, :filled])
            for (keys, values), filled in zip(self._layers, self._filled, strict=True)
        ]


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Where each token stands in its own row, padding aside: (B, S)."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def visible(mask: torch.Tensor) -> torch.Tensor | None:
    """Which keys (B, 1, S, S) each query may see: those up to itself that are no padding; None where none is.

    Padding sees itself, so that no row of a softmax is empty; nobody else sees it.
    """
    if bool(mask.all()):
        return None  # the causal kernel needs no mask
    length = mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return (causal & mask[:, None, None, :]) | torch.eye(length, dtype=torch.bool)


def forward(
    decoder: Any,
    states: torch.Tensor,
    places: torch.Tensor,
    mask: torch.Tensor | None,
    cache: KeyValues | None = None,
    *,
    is_saving: bool = False,
) -> torch.Tensor:
    """Run states (B, Q, D) at their positions (B, Q) through all layers and the last norm: (B, Q, D).

    `is_saving` keeps no activations inside a layer; the backward pass computes them again.
    """
    rotary = decoder.rotary_emb(states, position_ids=places)
    for layer in decoder.layers:
        if is_saving:
            states = checkpoint(_run, layer, states, mask, rotary, use_reentrant=False)
        else:
            states = _run(layer, states, mask, rotary, cache)
    normed: torch.Tensor = decoder.norm(states)
    return normed


def _run(
    layer: Any, states: torch.Tensor, mask: torch.Tensor | None, rotary: Any, cache: KeyValues | None = None
) -> torch.Tensor:
    with _attention(states, cache):  # inside, so that it is the same when a layer is computed again
        ran: torch.Tensor = layer(states, attention_mask=mask, position_embeddings=rotary, past_key_values=cache)
    return ran


def _attention(states: torch.Tensor, cache: KeyValues | None) -> AbstractContextManager[None]:
    """Plain attention for short rows (B, Q, D) on a CPU, with or without gradients so that both round alike.

    In bfloat16 forward and backward take a quarter less than with flash attention, in float32 about as long.
    """
    is_slow = cache is None and states.device.type == "cpu" and states.shape[1] <= SHORT
    return sdpa_kernel(SDPBackend.MATH) if is_slow else nullcontext()


class _Rows:
    """The same as `PackedRows` through any decoder's own layers, anywhere; each row has a copy of its prompt's."""

    def __init__(
        self,
        decoder: Any,
        prompts: list[tuple[torch.Tensor, torch.Tensor]],
        index: torch.Tensor,
        mask: torch.Tensor,
        *,
        steps: int,
    ) -> None:
        device, length = prompts[0][0].device, mask.shape[1]
        self._decoder, self._cache, self._filled = decoder, KeyValues(length + steps), length
        for layer, (keys, values) in enumerate(prompts):
            self._cache.update(keys[index.to(device)], values[index.to(device)], layer)
        self._next = mask.sum(1, keepdim=True).to(device)  # (B, 1)
        counts = torch.cat([mask, torch.ones(len(mask), steps, dtype=torch.bool)], 1)
        self._seen = None if mask.all() else counts[:, None, None].to(device)

    def step(self, states: torch.Tensor) -> torch.Tensor:
        self._filled += 1
        seen = None if self._seen is None else self._seen[..., : self._filled]
        hidden = forward(self._decoder, states[:, None], self._next, seen, self._cache)[:, -1]
        self._next = self._next + 1
        return hidden

    def packed(self, layer: torch.nn.Linear) -> torch.nn.Linear:
        return layer


class Continuation:
    """Rows that go on token by token; distinct prompts are read once.

    `hidden` (B, D) is the state that predicts each row's next token; `step` feeds that token. A small decoder on a CPU
    goes on packed, with its weights and adapters as they are when the prompts are read.
    """

    def __init__(
        self, decoder: Any, embed: Callable[[torch.Tensor], torch.Tensor], prompts: EncodedTokens, num_tokens: int
    ) -> None:
        device = decoder.norm.weight.device
        distinct, index = prompts.distinct()
        mask, read = visible(distinct.mask), KeyValues(prompts.ids.shape[1])
        states = forward(
            decoder,
            embed(distinct.ids.to(device)),
            positions(distinct.mask).to(device),
            None if mask is None else mask.to(device),
            read,
        )
        self.hidden = states[index.to(device), -1]  # (B, D)
        rows: type[PackedRows | _Rows] = PackedRows if PackedRows.fits(decoder) else _Rows
        self._rows = rows(decoder, read.layers(), index, prompts.mask, steps=num_tokens - 1)

    def step(self, states: torch.Tensor) -> None:
        """Go on by one token a row, given as embedded (B, D)."""
        self.hidden = self._rows.step(states)

    def packed(self, layer: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
        """A layer that reads every token's states, packed where the decoder's own are."""
        return self._rows.packed(layer)
