"""The records that pass between stages: prompts, candidates, scores, pairs, draws.

Read this first: every slot speaks in these types, and every table of a run is a list of one of them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from selfportrait import images

__all__ = [
    "Box",
    "Candidate",
    "Detection",
    "Draw",
    "Instance",
    "LossOutput",
    "Pair",
    "Picture",
    "PreferencePair",
    "Prompt",
    "Question",
    "Score",
]


@dataclass(frozen=True)
class Question:
    """One yes/no question about a picture, with the answer a faithful picture gives."""

    text: str
    answer: bool = True


@dataclass(frozen=True)
class Prompt:
    """A text with an id; `parent` and `role` say which prompt it was made from and how.

    `spec` is what a benchmark's file says beside the text; two prompts that differ only in it are the same prompt.
    """

    id: str
    text: str
    category: str = ""
    questions: tuple[Question, ...] = ()
    parent: str | None = None
    role: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


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
class Picture:
    """A picture that is read when it is asked for: the line that names it, and its file or its encoded bytes.

    `uid` is what its dataset calls it, if nothing else in the world is called that. `content` is what it is made of to
    the model `content_of`, flat, where that was kept: that model need not encode it again.
    """

    where: str = field(compare=False)
    source: Path | bytes = field(repr=False)
    uid: str = ""
    content: torch.Tensor | None = field(default=None, compare=False, repr=False)
    content_of: str = field(default="", compare=False)

    @cached_property
    def key(self) -> str:
        """What it is called in a cache: its uid, or the SHA-256 of its encoded bytes."""
        return self.uid or hashlib.sha256(self.data()).hexdigest()

    def data(self) -> bytes:
        """The encoded bytes; raises FileNotFoundError that says where the picture is named."""
        if isinstance(self.source, bytes):
            return self.source
        if not self.source.is_file():
            raise FileNotFoundError(f"{self.where}: there is no picture {self.source}")
        return self.source.read_bytes()

    def read(self) -> Image.Image:
        """The pixels as RGB; raises FileNotFoundError or ValueError that says where the picture is named."""
        data = self.data()
        try:
            return images.from_bytes(data)
        except ValueError as error:
            name = "the picture" if isinstance(self.source, bytes) else self.source
            raise ValueError(f"{self.where}: {name}: {error}") from error


Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels of the original picture, half-open."""


@dataclass(frozen=True)
class Instance:
    """One thing that both pictures of a pair show, with where each shows it and how sure the detector was.

    In a conflict the rejected picture shows it better.
    """

    name: str
    chosen_box: Box
    rejected_box: Box
    is_conflict: bool
    chosen_confidence: float = 1.0
    rejected_confidence: float = 1.0


@dataclass(frozen=True)
class PreferencePair:
    """Two pictures of a prompt, the chosen one preferred; `index` is the row of its source that it stands in, from 0.

    The id follows from prompt and pictures alone, not from the row.
    """

    id: str
    prompt: str
    chosen: Picture
    rejected: Picture
    instances: tuple[Instance, ...] = ()
    index: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Detection:
    """One object found in a picture: box is (x0, y0, x1, y1) in pixels, half-open; mask is a bool array (H, W)."""

    name: str
    score: float
    box: Box
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
