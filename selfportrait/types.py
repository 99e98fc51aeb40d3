"""The records that pass between stages: prompts, candidates, scores, pairs, draws.

Read this first: every slot speaks in these types, and every table of a run is a list of one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

__all__ = ["Candidate", "Detection", "Draw", "LossOutput", "Pair", "Prompt", "Question", "Score"]


@dataclass(frozen=True)
class Question:
    """One yes/no question about a picture, with the answer a faithful picture gives."""

    text: str
    answer: bool = True


@dataclass(frozen=True)
class Prompt:
    """A text with an id; `parent` and `role` say which prompt it was made from and how."""

    id: str
    text: str
    category: str = ""
    questions: tuple[Question, ...] = ()
    parent: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One picture sampled for a prompt, with its seed and the clean latent it was decoded from, (C, H, W)."""

    id: str
    prompt_id: str
    index: int
    seed: int
    image: Image.Image
    latent: torch.Tensor


@dataclass(frozen=True)
class Score:
    """A judge's number for one picture, higher is better; `value` is None, with a reason, when it could not judge."""

    value: float | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two candidates of a prompt by their ids, the chosen one preferred, with their scores."""

    prompt_id: str
    chosen_id: str
    rejected_id: str
    chosen_score: float
    rejected_score: float

    @property
    def margin(self) -> float:
        """Score of the chosen minus score of the rejected; only a hard negative may have the higher score."""
        return self.chosen_score - self.rejected_score


@dataclass(frozen=True)
class Detection:
    """One object found in a picture: box is (x0, y0, x1, y1) in pixels, half-open; mask is a bool array (H, W)."""

    name: str
    score: float
    box: tuple[int, int, int, int]
    mask: np.ndarray | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class Draw(NamedTuple):
    """Where a log-likelihood is evaluated: noise level sigma in (0, 1], shape (B,), and noise (B, C, H, W)."""

    sigma: torch.Tensor
    noise: torch.Tensor


class LossOutput(NamedTuple):
    """Loss per example (never reduced: the recipe owns averaging) and detached metrics."""

    loss: torch.Tensor
    metrics: dict[str, torch.Tensor]
