"""Which of several texts is nearest to another, by the cosine of their mean-pooled embeddings.

Read this to see how a free answer becomes one of the choices.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from selfportrait.devices import device_of

__all__ = ["Sentences"]


class Sentences:
    """Any encoder of `AutoModel`; `path` is a folder or a hub id, weights are read as safetensors, at first use."""

    def __init__(self, path: str, device: str = "auto") -> None:
        self.path = path
        self.device = device_of(device)

    def nearest(self, text: str, choices: Sequence[str]) -> str:
        """The choice that is nearest to a text; the first among equals."""
        embedded = self._embed([text, *choices])  # (1 + N, D)
        return choices[int((embedded[1:] @ embedded[0]).argmax())]

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        tokenizer, model = self._loaded
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.device)
        hidden = model(**inputs).last_hidden_state  # (N, T, D)
        counts = inputs["attention_mask"][..., None].to(hidden.dtype)  # (N, T, 1)
        mean = (hidden * counts).sum(1) / counts.sum(1).clamp(min=1e-9)
        unit: torch.Tensor = mean / mean.norm(dim=-1, keepdim=True)
        return unit

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(self.path, use_safetensors=True)
        return AutoTokenizer.from_pretrained(self.path), model.to(self.device).eval()
