"""What judges of the CLIP family share: both encoders of a `CLIPModel`, and the cosine between a text and a picture.

Read this to see what is embedded once: each distinct text and each distinct picture of a call.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel

from selfportrait.judges._batches import batches, distinct
from selfportrait.judges._checkpoints import Origin, Place, pretrained, pretrained_network
from selfportrait.judges._pictures import pixel_hash

__all__ = ["Match", "Towers", "load_towers"]

logger = logging.getLogger(__name__)

TOKENIZER = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"  # the vocabulary is the same for every CLIP
Frame = Callable[[Image.Image, int], torch.Tensor]  # a picture in the frame of the network, (3, S, S)


class Match(NamedTuple):
    """The cosine between a text and a picture, and how many tokens at the end of the text were not read."""

    cosine: float
    cut_tokens: int


class Towers(NamedTuple):
    """A CLIPModel with its tokenizer, where it computes, and how it frames a picture."""

    model: Any
    tokenizer: Any
    frame: Frame
    place: Place

    @property
    def scale(self) -> float:
        """What the network multiplies its cosines by."""
        return float(self.model.logit_scale.detach().double().exp())

    def matches(self, texts: Sequence[str], pictures: Sequence[Image.Image]) -> list[Match]:
        """Compare each text with the picture beside it."""
        first, text_of = distinct(texts)
        own = [texts[index] for index in first]
        cut = self._cut([*own])
        text, picture = self.texts(own)[text_of], self.pictures(pictures)  # (N, D)
        cosines = (text * picture).sum(1).tolist()
        return [Match(cosine, cut[index]) for cosine, index in zip(cosines, text_of, strict=True)]

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors (N, D) in float64."""
        parts = []
        for some in batches(texts, self.place.batch_size):
            settings = {"padding": True, "truncation": True, "max_length": self._limit}
            inputs = self.tokenizer(list(some), return_tensors="pt", **settings).to(self.place.device)
            features = self.model.get_text_features(inputs["input_ids"], attention_mask=inputs["attention_mask"])
            parts.append(_unit(features))
        return torch.cat(parts)

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Unit vectors (N, D) in float64."""
        first, picture_of = distinct([pixel_hash(picture) for picture in pictures])
        size = self.model.config.vision_config.image_size
        parts = []
        for some in batches(first, self.place.batch_size):
            pixels = torch.stack([self.frame(pictures[index], size) for index in some])  # (B, 3, S, S)
            parts.append(_unit(self.model.get_image_features(pixels.to(self.place.device, self.place.dtype))))
        return torch.cat(parts)[picture_of]

    def _cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each text the network has no room for."""
        lengths = [len(ids) for ids in self.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
        cut = [max(0, length - self._limit) for length in lengths]
        if any(cut):
            count = sum(map(bool, cut))
            logger.warning("%d prompts are longer than %d tokens: their ends are not read", count, self._limit)
        return cut

    @property
    def _limit(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)


def load_towers(
    path: str,
    tokenizer: str | None,
    frame: Frame,
    origin: Origin,
    place: Place,
) -> Towers:
    """Read a CLIPModel of transformers; its tokenizer lies beside it where no other is named."""
    words = pretrained(AutoTokenizer.from_pretrained, tokenizer or path, origin)
    model = pretrained_network(CLIPModel, path, origin, place.dtype)
    return Towers(model.to(place.device).eval(), words, frame, place)


def _unit(features: Any) -> torch.Tensor:
    """Projected features as unit vectors; transformers 5 wraps them."""
    vectors: torch.Tensor = getattr(features, "pooler_output", features)
    return torch.nn.functional.normalize(vectors.float().cpu().double(), dim=-1)
