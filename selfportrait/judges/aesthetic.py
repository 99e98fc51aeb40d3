"""The LAION aesthetic predictor (https://github.com/christophschuhmann/improved-aesthetic-predictor)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import torch
from PIL import Image
from pydantic import Field
from transformers import CLIPVisionModelWithProjection

from selfportrait.judges._batches import batches, distinct, number
from selfportrait.judges._checkpoints import (
    Origin,
    Place,
    check_path,
    load_exactly,
    pretrained_network,
    read_weights,
    renamed,
)
from selfportrait.judges._linear_head import linear_head
from selfportrait.judges._pictures import cropped, judge_readable, pixel_hash
from selfportrait.types import Prompt, Score

__all__ = ["Aesthetic"]

ORIGIN = Origin(
    "the aesthetic predictor sac+logos+ava1-l14-linearMSE.pth",
    "https://github.com/christophschuhmann/improved-aesthetic-predictor",
    "Apache-2.0",
)
CLIP_ORIGIN = Origin("CLIP ViT-L/14", "https://huggingface.co/openai/clip-vit-large-patch14", "MIT")


class Network(NamedTuple):
    """The encoder of pictures and the head on its unit vectors."""

    encoder: Any
    head: torch.nn.Sequential


class Aesthetic:
    """Score a picture by how much people like the look of it, about 1 to 10; the prompt is not read.

    Source: a linear head on the embedding of CLIP ViT-L/14, scaled to length 1 first: without that the head's numbers
    mean nothing. `path` is the head's file, `clip` the folder or hub id of the CLIP. Only the middle square is seen.
    """

    def __init__(
        self,
        *,
        path: str = "trl-lib/ddpo-aesthetic-predictor/aesthetic-model.pth",
        clip: str = "openai/clip-vit-large-patch14",
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 32,
    ) -> None:
        check_path(path, ORIGIN)
        check_path(clip, CLIP_ORIGIN)
        self.path, self.clip = path, clip
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, _: list[str], pictures: list[Image.Image]) -> list[Score]:
        first, picture_of = distinct([pixel_hash(picture) for picture in pictures])
        values = [
            value
            for some in batches(first, self.place.batch_size)
            for value in self._values([pictures[index] for index in some])
        ]
        return [number(values[index]) for index in picture_of]

    @torch.inference_mode()
    def _values(self, pictures: Sequence[Image.Image]) -> list[float]:
        encoder, head = self._network
        size = encoder.config.image_size
        pixels = torch.stack([cropped(picture, size) for picture in pictures]).to(self.place.device, self.place.dtype)
        vectors = torch.nn.functional.normalize(encoder(pixels).image_embeds.float(), dim=-1)  # (B, D)
        values: list[float] = head(vectors)[:, 0].tolist()
        return values

    @cached_property
    def _network(self) -> Network:
        encoder = pretrained_network(CLIPVisionModelWithProjection, self.clip, CLIP_ORIGIN, self.place.dtype)
        state = renamed(read_weights(self.path, ORIGIN), {r"^layers\.": ""})
        head = load_exactly(linear_head(encoder.config.projection_dim), state, self.path, ORIGIN)
        return Network(encoder.to(self.place.device).eval(), head.to(self.place.device).eval())
