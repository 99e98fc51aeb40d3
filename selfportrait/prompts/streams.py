"""Prompts that the model writes itself, in the twelve streams of OSPO's first step."""

from typing import Annotated, Literal

from pydantic import Field

from selfportrait.asking.base import Decoding, Style, Writes, Written, require
from selfportrait.asking.captions import STREAMS, family
from selfportrait.prompts._in_context import Writing, all_prompts, write_stream
from selfportrait.types import Prompt

__all__ = ["Streams"]

_Count = Annotated[int, Field(ge=1)]
_Name = Literal[
    "color1",
    "shape1",
    "texture1",
    "color2",
    "shape2",
    "texture2",
    "spatial_2d",
    "spatial_3d",
    "numeracy1",
    "numeracy2",
    "non-spatial",
    "complex",
]


class Streams:
    """Ask the model for new captions, stream by stream, with examples that are drawn anew from what it wrote.

    A count is that of each stream of its kind, six of attributes and two of spatial relations; the defaults make the
    16,002 prompts of OSPO's first iteration. A stream ends early after `tries_per_prompt` texts a prompt.
    Source: OSPO's first step (https://arxiv.org/abs/2506.02015), with its decoding; `refresh_every` is its 100 calls
    of 8 texts. Differs from the source: the filter of numbers, which never fires in the code, is applied to both
    numeracy streams, digits included; every text has a seed of its own.
    """

    def __init__(
        self,
        policy: Writes,
        seed: int,
        *,
        streams: Annotated[tuple[_Name, ...], Field(min_length=1)] = tuple(STREAMS),
        attribute_prompts: _Count = 667,
        spatial_prompts: _Count = 1000,
        numeracy1_prompts: _Count = 1000,
        numeracy2_prompts: _Count = 1000,
        non_spatial_prompts: _Count = 4000,
        complex_prompts: _Count = 4000,
        style: Style = "full",
        refresh_every: _Count = 800,
        tries_per_prompt: _Count = 20,
        temperature: Annotated[float, Field(gt=0)] = 1.0,
        top_p: Annotated[float, Field(gt=0, le=1)] = 1.0,
        max_new_tokens: _Count = 512,
        batch_size: _Count = 8,
    ) -> None:
        require(policy, "write")
        counts = {
            "spatial_2d": spatial_prompts,
            "spatial_3d": spatial_prompts,
            "numeracy1": numeracy1_prompts,
            "numeracy2": numeracy2_prompts,
            "non-spatial": non_spatial_prompts,
            "complex": complex_prompts,
        }
        self.parts: tuple[str, ...] = tuple(dict.fromkeys(streams))
        self._counts = {name: counts.get(name, attribute_prompts) for name in self.parts}
        decoding = Decoding(temperature, top_p, max_new_tokens, batch_size)
        self._writing = Writing(policy, seed, style, refresh_every, tries_per_prompt, decoding)

    @property
    def num_prompts(self) -> int:
        """How many are asked for; what cannot be read or comes twice makes them fewer."""
        return sum(self._counts.values())

    def part(self, name: str) -> Written:
        """The prompts of one stream; a text of theirs may stand in another stream too."""
        own = family(STREAMS[name].category)
        earlier = self.parts[: self.parts.index(name)]
        first_index = sum(self._counts[other] for other in earlier if family(STREAMS[other].category) == own)
        return write_stream(STREAMS[name], self._counts[name], first_index, self._writing)

    def __call__(self) -> list[Prompt]:
        """The prompts of every stream, none twice."""
        return all_prompts([self.part(name) for name in self.parts])
