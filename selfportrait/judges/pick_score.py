"""PickScore (https://arxiv.org/abs/2305.01569): a CLIP-H taught by people's choices between pictures of a prompt."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from selfportrait.judges._batches import number
from selfportrait.judges._checkpoints import Origin, Place, check_path
from selfportrait.judges._clip import TOKENIZER, Towers, load_towers
from selfportrait.judges._pictures import cropped, judge_readable
from selfportrait.types import Prompt, Score

__all__ = ["PickScore"]

ORIGIN = Origin(
    "PickScore",
    "https://huggingface.co/yuvalkirstain/PickScore_v1",
    "code MIT, the weights' card states no licence",
)


class PickScore:
    """Score a picture by exp(logit_scale) times the cosine to its prompt, about 17 to 24.

    The chance that people prefer one of several pictures of a prompt is the softmax over their scores. Flow-GRPO
    divides by 26. Only the middle square and the first 77 tokens are seen. `path` is a folder or a hub id of a
    `CLIPModel`; its tokenizer, where it brings none, is that of the CLIP-H it was made from.
    """

    def __init__(
        self,
        *,
        path: str = "yuvalkirstain/PickScore_v1",
        tokenizer: str = TOKENIZER,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 32,
    ) -> None:
        check_path(path, ORIGIN)
        self.path, self.tokenizer = path, tokenizer
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; the cosine is in the details."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        matches = self._towers.matches(texts, pictures)
        return [number(self._towers.scale * match.cosine, match._asdict()) for match in matches]

    @cached_property
    def _towers(self) -> Towers:
        return load_towers(self.path, self.tokenizer, cropped, ORIGIN, self.place)
