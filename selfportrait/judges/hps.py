"""HPS v2 (https://arxiv.org/abs/2306.09341): a CLIP-H taught by people's rankings of pictures of a prompt.

Read this before comparing numbers: v2.0 and v2.1 are two checkpoints with two scales.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field
from transformers import AutoTokenizer

from selfportrait.judges._batches import number
from selfportrait.judges._checkpoints import (
    Origin,
    Place,
    check_path,
    is_weights_file,
    pretrained,
    read_weights,
)
from selfportrait.judges._clip import TOKENIZER, Towers, load_towers
from selfportrait.judges._open_clip import VIT_H_14, clip_of_open_clip
from selfportrait.judges._pictures import judge_readable, padded
from selfportrait.types import Prompt, Score

__all__ = ["Hps"]

ORIGIN = Origin("HPS v2", "https://huggingface.co/xswu/HPSv2", "Apache-2.0")


class Hps:
    """Score a picture by the cosine to its prompt, about 0.15 to 0.35; printed tables hold 100 times that.

    `path` is the published file, by default v2.1 from the hub; xswu/HPSv2/HPS_v2_compressed.pt is v2.0, whose numbers
    are others. A folder or hub id of a `CLIPModel` with these weights does as well. The whole picture is seen, with
    black around it where it is not square.
    """

    def __init__(
        self,
        *,
        path: str = "xswu/HPSv2/HPS_v2.1_compressed.pt",
        tokenizer: str = TOKENIZER,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 32,
    ) -> None:
        check_path(path, ORIGIN)
        self.path, self.tokenizer = path, tokenizer
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        matches = self._towers.matches(texts, pictures)
        return [number(match.cosine, {"cut_tokens": match.cut_tokens}) for match in matches]

    @cached_property
    def _towers(self) -> Towers:
        if not is_weights_file(self.path):
            return load_towers(self.path, self.tokenizer, padded, ORIGIN, self.place)
        model = clip_of_open_clip(read_weights(self.path, ORIGIN), VIT_H_14, self.path, ORIGIN)
        words = pretrained(AutoTokenizer.from_pretrained, self.tokenizer, ORIGIN)
        return Towers(model.to(self.place.device, self.place.dtype).eval(), words, padded, self.place)
