"""ImageReward (https://arxiv.org/abs/2304.05977): a BLIP taught by people's rankings of pictures of a prompt."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoTokenizer, BlipTextConfig, BlipVisionConfig, BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from selfportrait.judges._batches import distinct, number, pair_values
from selfportrait.judges._blip import TEXT, VISION_LARGE, of_blip
from selfportrait.judges._checkpoints import (
    Origin,
    Place,
    State,
    check_path,
    load_exactly,
    pretrained,
    read_weights,
)
from selfportrait.judges._linear_head import linear_head
from selfportrait.judges._pictures import cropped, judge_readable, pixel_hash
from selfportrait.types import Prompt, Score

__all__ = ["ImageReward"]

ORIGIN = Origin("ImageReward", "https://huggingface.co/THUDM/ImageReward", "Apache-2.0")
TOKENIZER_ORIGIN = Origin("BERT's tokenizer", "https://huggingface.co/google-bert/bert-base-uncased", "Apache-2.0")
TOKENS = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the network's numbers over its training pictures
VISION = {**VISION_LARGE, "image_size": 224}


class Network(torch.nn.Module):
    """The two encoders of a BLIP, the text one reading the picture, and a linear head on its first token."""

    def __init__(self, vision: dict[str, Any], text: dict[str, Any]) -> None:
        super().__init__()
        settings = BlipTextConfig(**{**text, "encoder_hidden_size": vision["hidden_size"]})
        self.vision_model = BlipVisionModel(BlipVisionConfig(**vision))
        self.text_encoder = BlipTextModel(settings, add_pooling_layer=False)
        self.mlp = torch.nn.ModuleDict({"layers": linear_head(settings.hidden_size)})

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """The states of pictures (B, 3, S, S) as (B, T, D)."""
        states: torch.Tensor = self.vision_model(pixels).last_hidden_state
        return states

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The reward (B,) of texts (B, L) that read states (B, T, D), before it is standardized."""
        seen = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        hidden = self.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=states, encoder_attention_mask=seen
        ).last_hidden_state
        reward: torch.Tensor = self.mlp["layers"](hidden[:, 0])[:, 0]
        return reward


class Loaded(NamedTuple):
    """The network and its tokenizer."""

    network: Network
    tokenizer: Any


class ImageReward:
    """Score a picture by how much people prefer it for its prompt, about -2.3 to 2 and 0 on average.

    `path` is the published file, by default from the hub. Only the middle square of a picture and the first 35 tokens
    of a prompt are read. The reward is (network - 0.167) / 1.033, as in the published code.
    """

    def __init__(
        self,
        *,
        path: str = "THUDM/ImageReward/ImageReward.pt",
        tokenizer: str = "google-bert/bert-base-uncased",
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        check_path(path, ORIGIN)
        check_path(tokenizer, TOKENIZER_ORIGIN)
        self.path, self.tokenizer = path, tokenizer
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        first, picture_of = distinct([pixel_hash(picture) for picture in pictures])
        pairs = list(zip(picture_of, texts, strict=True))
        found = pair_values(
            [pictures[index] for index in first],
            pairs,
            encode=self._encode,
            value=self._reward,
            bucket=lambda _: 0,
            batch_size=self.place.batch_size,
        )
        return [number(found[pair]) for pair in pairs]

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        network = self._loaded.network
        size = network.vision_model.config.image_size
        return network.encode(
            torch.stack([cropped(one, size) for one in pictures]).to(self.place.device, self.place.dtype)
        )

    @torch.inference_mode()
    def _reward(self, states: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        network, tokenizer = self._loaded
        settings = {"padding": "max_length", "truncation": True, "max_length": TOKENS, "return_tensors": "pt"}
        inputs = tokenizer(list(texts), **settings).to(self.place.device)
        reward: torch.Tensor = network(inputs["input_ids"], inputs["attention_mask"], states).float()
        return (reward - MEAN) / STD

    @cached_property
    def _loaded(self) -> Loaded:
        tokenizer = pretrained(AutoTokenizer.from_pretrained, self.tokenizer, TOKENIZER_ORIGIN)
        network = network_of(read_weights(self.path, ORIGIN), VISION, TEXT, self.path)
        return Loaded(network.to(self.place.device, self.place.dtype).eval(), tokenizer)


def network_of(state: State, vision: dict[str, Any], text: dict[str, Any], path: str) -> Network:
    """The network of those sizes with weights in the names of the published file."""
    return load_exactly(Network(vision, text), of_blip(state, r"^blip\."), path, ORIGIN)
