"""Where a decoder looks at words of its prompt while it reads a picture's tokens, and which tokens a word is.

Read this for OSPO's object masks: mean over heads, kept layers and span, then min-max. Attention probabilities are made
a few queries at a time, and only the prompt's columns are kept: memory does not grow with layers x heads x T^2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

__all__ = ["attention_to_prompt", "kept_layers", "object_maps", "word_span"]

QUERIES_AT_ONCE = 32
EPSILON = 1e-8
MARKERS = " Ġ▁"  # of a leading space, in the tokens of different tokenizers


def kept_layers(num_layers: int, skip: int | None) -> range:
    """The layers to average: without the first and last `skip`, by default 5, or a quarter of a small model's.

    Raises ValueError where none is left.
    """
    skip = min(5, num_layers // 4) if skip is None else skip
    kept = range(skip, num_layers - skip)
    if not kept:
        raise ValueError(
            f"model.skip_layers = {skip} leaves none of {num_layers} layers; give less than {(num_layers + 1) // 2}"
        )
    return kept


def attention_to_prompt(
    decoder: Any, states: torch.Tensor, places: torch.Tensor, seen: torch.Tensor | None, length: int, kept: range
) -> torch.Tensor:
    """What every query after the prompt pays to each of its `length` tokens, mean over heads and kept layers.

    Shapes: states (B, S, D), positions (B, S), seen (B, 1, S, S) or None for all up to the query; returns
    (B, S - length, length) in float32.
    """
    rotary = decoder.rotary_emb(states, position_ids=places)
    total = states.new_zeros(len(states), states.shape[1] - length, length, dtype=torch.float32)
    for number, layer in enumerate(decoder.layers[: kept.stop]):
        if number in kept:
            _add(total, layer.self_attn, layer.input_layernorm(states), rotary, seen)
        if number + 1 < kept.stop:
            states = layer(states, attention_mask=seen, position_embeddings=rotary)
    return total / len(kept)


def _add(total: torch.Tensor, attention: Any, states: torch.Tensor, rotary: Any, seen: torch.Tensor | None) -> None:
    """Add one layer's attention, mean over heads, to a total (B, T, P)."""
    heads = (*states.shape[:2], -1, attention.head_dim)
    query, key = (project(states).view(heads).transpose(1, 2) for project in (attention.q_proj, attention.k_proj))
    query, key = apply_rotary_pos_emb(query, key, *rotary)  # (B, heads, S, d)
    key = key.repeat_interleave(attention.num_key_value_groups, 1)
    length = total.shape[2]
    for start in range(length, states.shape[1], QUERIES_AT_ONCE):
        end = min(start + QUERIES_AT_ONCE, states.shape[1])  # later keys are masked anyway
        logits = (query[:, :, start:end] @ key[:, :, :end].transpose(2, 3)).float() * attention.scaling
        causal = torch.ones(end - start, end, dtype=torch.bool, device=logits.device).tril(start)
        logits = logits.masked_fill(~(causal if seen is None else seen[:, :, start:end, :end]), -torch.inf)
        total[:, start - length : end - length] += logits.softmax(-1)[..., :length].mean(1)


def object_maps(
    attention: torch.Tensor, padding: torch.Tensor, spans: Sequence[Sequence[Sequence[int]]], count: int
) -> torch.Tensor:
    """Average each object's tokens and scale its map to [0, 1]: attention (B, T, P) to (B, count, T).

    `padding` (B,) is how many columns of a row come before its prompt. An object without tokens is a map of zeros, and
    so is what a row with less than `count` objects lacks: a map that points nowhere, as a constant one.
    """
    maps = attention.new_zeros(len(attention), count, attention.shape[1])
    for row, objects in enumerate(spans):
        for number, span in enumerate(objects):
            if span:
                maps[row, number] = attention[row][:, [int(padding[row]) + at for at in span]].mean(1)
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    return (maps - low) / (high - low + EPSILON)


def word_span(word: Sequence[str], prompt: Sequence[str]) -> tuple[int, ...]:
    """Which of a prompt's tokens are an object's word, given as tokens of its own: () where it is not found.

    The first run that equals the word's tokens, and every token that contains one of them, which finds the plural and
    the word that a leading space made one token. Leading spaces and capitals do not count. A single letter is looked
    for in the run alone, since most words contain it (in OSPO's description it counts as any other token).
    """
    pieces = [piece for piece in map(_plain, word) if piece]
    tokens = [_plain(token) for token in prompt]
    starts = [at for at in range(len(tokens)) if pieces and tokens[at : at + len(pieces)] == pieces]
    found = {at for start in starts[:1] for at in range(start, start + len(pieces))}
    found |= {at for at, token in enumerate(tokens) if any(len(piece) > 1 and piece in token for piece in pieces)}
    return tuple(sorted(found))


def _plain(token: str) -> str:
    return token.lstrip(MARKERS).lower()
