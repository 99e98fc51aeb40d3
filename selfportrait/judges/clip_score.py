"""CLIPScore (https://arxiv.org/abs/2104.08718): how well a picture fits its prompt, to a CLIP.

Read this before comparing numbers: three scales of the same cosine are in print.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from selfportrait.judges._batches import number
from selfportrait.judges._checkpoints import Origin, Place, check_path
from selfportrait.judges._clip import Towers, load_towers
from selfportrait.judges._pictures import cropped, judge_readable
from selfportrait.types import Prompt, Score

__all__ = ["ClipScore"]

ORIGIN = Origin("a CLIP", "https://huggingface.co/openai/clip-vit-base-patch32", "MIT")
FORMS = {
    "cosine": lambda cosine: cosine,
    "percent": lambda cosine: max(0.0, 100 * cosine),
    "hessel": lambda cosine: max(0.0, 2.5 * cosine),
}


class ClipScore:
    """Score a picture by the cosine between its embedding and the prompt's, about 0.15 to 0.40.

    `form` "percent" is 100 times the cosine and "hessel" 2.5 times, both never below 0: what torchmetrics and the paper
    print. The paper also sets `prefix` "A photo depicts " before each prompt; T2I-CompBench uses ViT-B/32, "cosine" and
    no prefix. Only the middle square of a picture is seen, and the first 77 tokens of a prompt: `cut_tokens` in the
    details says how many were left out. `path` is a folder or a hub id of a `CLIPModel` of transformers.
    """

    def __init__(
        self,
        *,
        path: str = "openai/clip-vit-base-patch32",
        form: Literal["cosine", "percent", "hessel"] = "cosine",
        prefix: str = "",
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 32,
    ) -> None:
        check_path(path, ORIGIN)
        self.path, self.form, self.prefix = path, form, prefix
        self.place = Place.of(device, dtype, batch_size)

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        """One score a picture; the raw cosine is in the details."""
        return judge_readable(prompts, images, self._judge)

    def _judge(self, texts: list[str], pictures: list[Image.Image]) -> list[Score]:
        matches = self._towers.matches([self.prefix + text for text in texts], pictures)
        return [number(FORMS[self.form](match.cosine), match._asdict()) for match in matches]

    @cached_property
    def _towers(self) -> Towers:
        return load_towers(self.path, None, cropped, ORIGIN, self.place)
