"""From pairs to object masks: where in each of their pictures the model drew the things of the prompt.

Read this to see which words are looked for, and which pairs are not trained on because none is found.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from selfportrait import store
from selfportrait.asking.phrases import objects
from selfportrait.models.base import TokenModel
from selfportrait.stages.parts import Yield, count, read_counts, shared_out, write_part
from selfportrait.weights.base import Weights, mask_of

__all__ = ["make_masks"]


class Seen(NamedTuple):
    """A candidate's tokens, the short prompt that it is trained for, its objects' words and where they stand in it."""

    id: str
    tokens: list[int]
    prompt: str
    words: list[str]
    spans: list[tuple[int, ...]]


def make_masks(model: TokenModel, weights: Weights, preferences: Path, candidates: Path, folder: Path) -> Yield:
    """Make the masks of both candidates of every part of preferences/ into a part of masks/; returns the counts.

    Also a hard negative is read together with the short base prompt. A word that the prompt's ids do not hold is
    skipped, and a pair whose prompt is left without one has no masks and is counted.
    """
    with shared_out("looking for objects", folder, [1] * len(store.parts(preferences))) as missing:
        for index in missing:
            pairs = store.read_part(preferences, index).to_pylist()
            spans = {text: _spans(model, text) for text in dict.fromkeys(pair["prompt"] for pair in pairs)}
            usable = [pair for pair in pairs if spans[pair["prompt"]]]
            seen = _seen(usable, spans, candidates, index)
            counts = count(len(usable), {"no object in the prompt": len(pairs) - len(usable)})
            write_part(folder, index, _rows(model, weights, seen) if seen else [], store.MASKS, counts)
    return read_counts(folder)


def _spans(model: TokenModel, text: str) -> dict[str, tuple[int, ...]]:
    """The objects of a prompt that are found in its ids."""
    found = {word: model.span(text, word) for word in objects(text)}
    return {word: span for word, span in found.items() if span}


def _seen(
    pairs: Sequence[dict[str, Any]], spans: dict[str, dict[str, tuple[int, ...]]], candidates: Path, index: int
) -> list[Seen]:
    prompt_of = {pair[key]: pair["prompt"] for pair in pairs for key in ("chosen_id", "rejected_id")}
    rows = store.read_part(candidates, index, ["id", "tokens"]).to_pylist()
    return [
        Seen(row["id"], row["tokens"], text, list(spans[text]), list(spans[text].values()))
        for row in rows
        if (text := prompt_of.get(row["id"])) is not None
    ]


def _rows(model: TokenModel, weights: Weights, seen: Sequence[Seen]) -> list[dict[str, Any]]:
    tokens = torch.tensor([one.tokens for one in seen])  # (B, T)
    maps = model.attend(tokens, model.encode([one.prompt for one in seen]), [one.spans for one in seen])
    masks = mask_of(weights, tokens.to(maps.device), maps)  # (B, T)
    height, width = maps.shape[-2:]
    return [
        {"candidate_id": one.id, "height": height, "width": width, "mask": mask, "objects": one.words}
        for one, mask in zip(seen, masks.tolist(), strict=True)
    ]
