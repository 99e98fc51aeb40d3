"""The benchmark of HPS v2 (https://arxiv.org/abs/2306.09341): 800 prompts in each of four styles.

Read this to see what stands beside the mean of a style.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _layouts, _parts, _preference
from selfportrait.measures import Metric
from selfportrait.types import Prompt

__all__ = ["HpdV2"]

SOURCE = "https://huggingface.co/datasets/zhwang/HPDv2 (benchmark/*.json, Apache-2.0)"
CHUNK = 80
Style = Literal["anime", "concept-art", "paintings", "photo", "drawbench"]


class HpdV2:
    """800 prompts a style, one picture each, judged by HPS; the average is over all prompts.

    `path` is the folder of the published anime.json, concept-art.json, paintings.json and photo.json, of which each is
    a list of texts. Numbers are as the judge gives them: published ones are 100 times the cosine, and those of HPS v2.0
    and v2.1 do not compare, so say which `judges` were given. The standard deviation of a style is that of the means of
    its chunks of 80. Pictures are seeded 42. Source: hpsv2/evaluation.py of https://github.com/tgxs002/HPSv2.
    """

    metric: ClassVar[Metric] = Metric("mean score of each judge", None)

    def __init__(
        self,
        *,
        path: str | None = None,
        judges: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1)] = ("hps",),
        styles: Annotated[tuple[Style, ...], Field(min_length=1)] = ("anime", "concept-art", "paintings", "photo"),
        images_per_prompt: Annotated[int, Field(ge=1, le=1)] = 1,
    ) -> None:
        own = [prompt for style in dict.fromkeys(styles) for prompt in _prompts(path, style)]
        self._set, self._judges = _parts.PromptSet(own, images_per_prompt), _preference.judges(judges)

    def prompts(self) -> list[Prompt]:
        """The prompts, style by style in the files' order."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    ready, measure = _preference.ready, _preference.measure
    protocol = staticmethod(_preference.protocol)
    entries = staticmethod(_preference.entries)

    @staticmethod
    def extras(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """The medians, and of each judge and style the standard deviation of the means of its chunks of 80."""
        rows = list(rows)
        chunks: dict[str, dict[int, list[float]]] = {}
        for row in rows:
            found = _parts.details_of(row)
            for judge, value in found.get("scores", {}).items():
                name = f"deviation {judge}{_preference.JUDGE_OF}{row['category']}"
                chunk = chunks.setdefault(name, {}).setdefault(found["row"] // CHUNK, [])
                chunk += [] if value is None else [value]
        deviations = {
            name: float(np.std([np.mean(several) for several in by_chunk.values() if several]))
            for name, by_chunk in chunks.items()
            if any(by_chunk.values())
        }
        return {**_preference.medians(rows), **deviations}

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<style>/<%05d>.jpg: the published script reads no other name, and skips a picture that is not there."""
        return {name: _layouts.jpeg(image) for name, image in zip(self.named(prompt), images, strict=False)}

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def named(self, prompt: Prompt) -> list[str]:
        """The path of the picture."""
        return [f"{prompt.category}/{prompt.spec['row']:05d}.jpg"]


def _prompts(path: str | None, style: str) -> Iterator[Prompt]:
    if path is not None and Path(path).is_file():
        raise ValueError(f"benchmark.path = {path}: it is a file, expected the folder that holds {style}.json")
    file = _files.locate(path, [f"{style}.json", f"benchmark/{style}.json"], SOURCE)
    texts = _files.json_list(file)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{file}, entry {number} is a {type(text).__name__}, expected text")
        yield Prompt(f"hpd_v2-{style}-{number:05d}", text, style, spec={"row": number, "groups": [style]})
