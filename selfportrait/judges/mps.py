"""MPS (https://arxiv.org/abs/2405.14705): a CLIP-H whose picture reads the words that matter for a preference."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import torch
from PIL import Image
from pydantic import Field
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from selfportrait.judges._batches import batches, distinct, number, pair_values
from selfportrait.judges._checkpoints import Origin, Place, check_path, load_exactly, pretrained, read_weights, renamed
from selfportrait.judges._clip import TOKENIZER
from selfportrait.judges._cross_model import CrossModel
from selfportrait.judges._open_clip import VIT_H_14
from selfportrait.judges._pictures import cropped, judge_readable, pixel_hash
from selfportrait.types import Prompt, Score

__all__ = ["Mps"]

ORIGIN = Origin(
    "MPS (overall) as safetensors or a state_dict",
    "https://github.com/Kwai-Kolors/MPS, whose file is a pickled module that has to be saved as one first,",
    "MIT code",
)
CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
THRESHOLD = 0.3  # of the published evaluation; its training code has 0.01
CROSS = {"layers": 4, "heads": 16, "head_width": 64}


class Network(torch.nn.Module):
    """A CLIP and the network in which a picture reads a text."""

    def __init__(self, clip: dict[str, Any], cross: dict[str, int]) -> None:
        super().__init__()
        self.model: Any = CLIPModel(CLIPConfig(**clip))
        self.cross_model = CrossModel(self.model.config.projection_dim, **cross)

    def texts(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Projected tokens (B, L, D) of texts, and their ends (B, D); padding is read like any other token."""
        output = self.model.text_model(input_ids=ids)
        return self.model.text_projection(output.last_hidden_state), self.model.text_projection(output.pooler_output)

    def pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """Projected tokens (B, T, D) of pictures."""
        tokens: torch.Tensor = self.model.visual_projection(self.model.vision_model(pixels).last_hidden_state)
        return tokens

    def forward(self, picture: torch.Tensor, text: torch.Tensor, end: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The score (B,) of pictures (B, T, D) that read texts (B, L, D) where the mask (B, L) is True."""
        seen = self.cross_model(picture, text, mask)[:, 0]
        cosine = torch.nn.functional.cosine_similarity(seen.float().cpu().double(), end.float().cpu().double())
        score: torch.Tensor = self.model.logit_scale.float().cpu().double().exp() * cosine
        return score


class Read(NamedTuple):
    """A text: its tokens (L, D), its end (D,), and which tokens are near the condition (L,)."""

    tokens: torch.Tensor
    end: torch.Tensor
    mask: torch.Tensor


class Mps:
    """Score a picture by how people prefer it overall for its prompt, about 8 to 16.

    The picture's tokens read those of the prompt that are near a fixed list of words, then are compared with the whole
    prompt. `path` is a file of tensors: the published one is a pickled module, which is refused because opening it runs
    its code. Only the middle square and the first 77 tokens are seen.
    Source: eval_overall_mps_on_hpdv2.py of https://github.com/Kwai-Kolors/MPS. Differs from the source: nothing for one
    prompt; it divides by the largest similarity of the batch, this by that of each prompt.
    """

    def __init__(
        self,
        *,
        path: str,
        tokenizer: str = TOKENIZER,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        check_path(path, ORIGIN)
        self.path, self.tokenizer = path, tokenizer
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        read = self._read(list(dict.fromkeys(texts)))
        first, picture_of = distinct([pixel_hash(picture) for picture in pictures])
        pairs = list(zip(picture_of, texts, strict=True))
        found = pair_values(
            [pictures[index] for index in first],
            pairs,
            encode=self._encode,
            value=lambda states, some: self._score(states, [read[text] for text in some]),
            bucket=lambda _: 0,
            batch_size=self.place.batch_size,
        )
        return [number(found[pair]) for pair in pairs]

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> dict[str, Read]:
        network, tokenizer = self._loaded
        found: dict[str, Read] = {}
        for some in batches([CONDITION, *texts], self.place.batch_size):
            length = network.model.config.text_config.max_position_embeddings
            settings = {"padding": "max_length", "truncation": True, "max_length": length, "return_tensors": "pt"}
            ids = tokenizer(list(some), **settings)["input_ids"].to(self.place.device)
            for text, tokens, end in zip(some, *network.texts(ids), strict=True):
                condition = found[CONDITION].tokens if found else tokens
                near = (tokens @ condition.T).amax(1)  # (L,)
                found[text] = Read(tokens, end, near / near.max() > THRESHOLD)
        return found

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        network, _ = self._loaded
        size = network.model.config.vision_config.image_size
        pixels = torch.stack([cropped(one, size) for one in pictures])
        return network.pictures(pixels.to(self.place.device, self.place.dtype))

    @torch.inference_mode()
    def _score(self, states: torch.Tensor, texts: Sequence[Read]) -> torch.Tensor:
        tokens, end, mask = (torch.stack(column) for column in zip(*texts, strict=True))
        scores: torch.Tensor = self._loaded[0](states, tokens, end, mask)
        return scores

    @cached_property
    def _loaded(self) -> tuple[Network, Any]:
        tokenizer = pretrained(AutoTokenizer.from_pretrained, self.tokenizer, ORIGIN)
        state = renamed(
            read_weights(self.path, ORIGIN), {r"^(cross_model\..*)\.fn\.": r"\1."}, r"(position_ids|inv_freq)$"
        )
        network = load_exactly(Network(VIT_H_14, CROSS), state, self.path, ORIGIN)
        return network.to(self.place.device, self.place.dtype).eval(), tokenizer
