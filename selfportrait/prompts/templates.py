"""Prompts from templates that the model's own words fill, and from examples where templates do not reach."""

import logging
import random
from collections.abc import Callable
from functools import cached_property, partial
from typing import Annotated, NamedTuple

from pydantic import Field

from selfportrait.asking import words
from selfportrait.asking.base import Decoding, Style, Writes, Written, require, write_all
from selfportrait.asking.captions import STREAMS, item_id
from selfportrait.asking.words import NUMBERS, RELATIONS, counted, with_article
from selfportrait.prompts._in_context import Writing, all_prompts, write_stream
from selfportrait.seeds import derive
from selfportrait.types import Prompt

__all__ = ["Templates"]

_Count = Annotated[int, Field(ge=1)]
_log = logging.getLogger(__name__)
_MAX_MISSES = 1000  # compositions in a row that were there before: the words have no more to give


class Words(NamedTuple):
    """What the model listed: objects of every kind, adjectives by kind of attribute, and how many lists were empty."""

    objects: list[str]
    attributes: dict[str, list[str]]
    num_empty: int


Compose = Callable[[Words, random.Random], str]


class Templates:
    """Ask the model for lists of objects and attributes, compose them, and ask for the prompts that have no template.

    "a {adjective} {noun}" and two of them joined make the attribute prompts, half of each; "a {noun} {relation} a
    {noun}", "{number} {nouns}" and two of them joined make the layout prompts, a third of each. Non-spatial and complex
    prompts are written from examples, as in the prompts `streams`.
    Source: the first step of SILMM (https://arxiv.org/abs/2412.05818): 16,000 prompts in four categories. Differs from
    the source: relations and numbers (one to four) are ours, not listed by the model.
    """

    def __init__(
        self,
        policy: Writes,
        seed: int,
        *,
        attribute_prompts: _Count = 4000,
        layout_prompts: _Count = 4000,
        non_spatial_prompts: Annotated[int, Field(ge=0)] = 4000,
        complex_prompts: Annotated[int, Field(ge=0)] = 4000,
        words_per_list: _Count = 20,
        lists_per_kind: _Count = 4,
        style: Style = "full",
        refresh_every: _Count = 800,
        tries_per_prompt: _Count = 20,
        temperature: Annotated[float, Field(gt=0)] = 1.0,
        top_p: Annotated[float, Field(gt=0, le=1)] = 1.0,
        max_new_tokens: _Count = 512,
        batch_size: _Count = 8,
    ) -> None:
        require(policy, "write")
        self._counts = {"attribute": attribute_prompts, "layout": layout_prompts}
        self._in_context = {"non-spatial": non_spatial_prompts, "complex": complex_prompts}
        self.parts: tuple[str, ...] = ("templates", *(name for name, count in self._in_context.items() if count))
        self._words_per_list, self._lists_per_kind = words_per_list, lists_per_kind
        decoding = Decoding(temperature, top_p, max_new_tokens, batch_size)
        self._writing = Writing(policy, seed, style, refresh_every, tries_per_prompt, decoding)

    @property
    def num_prompts(self) -> int:
        """How many are asked for; what cannot be read or comes twice makes them fewer."""
        return sum(self._counts.values()) + sum(self._in_context.values())

    def part(self, name: str) -> Written:
        """The prompts of all templates, or of one category that is written from examples."""
        if name in self._in_context:
            return write_stream(STREAMS[name], self._in_context[name], 0, self._writing)
        prompts = [
            Prompt(item_id(category, index), text, category)
            for templates, count in self._counts.items()
            for index, (category, text) in enumerate(self._composed(templates, count))
        ]
        return Written(prompts, {"empty list": self.listed.num_empty} if self.listed.num_empty else {})

    def __call__(self) -> list[Prompt]:
        """The prompts of every part, none twice."""
        return all_prompts([self.part(name) for name in self.parts])

    @cached_property
    def listed(self) -> Words:
        """The model's lists, several of each kind put together; raises ValueError for a kind without two words."""
        kinds = [*words.OBJECTS, *words.ATTRIBUTES.values()]
        asked = [(kind, index) for kind in kinds for index in range(self._lists_per_kind)]
        writing = self._writing
        conversations = [words.conversation(kind, self._words_per_list, writing.style) for kind, _ in asked]
        seeds = [derive(writing.seed, kind, index, "words") for kind, index in asked]
        texts = write_all(writing.policy, conversations, seeds, writing.decoding, "listing words")
        lists = [words.read(text) for text in texts]
        by_kind: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
        for (kind, _), found in zip(asked, lists, strict=True):
            by_kind[kind] |= dict.fromkeys(found)
        objects = list(dict.fromkeys(word for kind in words.OBJECTS for word in by_kind[kind]))
        attributes = {name: list(by_kind[kind]) for name, kind in words.ATTRIBUTES.items()}
        for name, found in {"objects": objects, **attributes}.items():
            if len(found) < 2:
                raise ValueError(f"the model listed {len(found)} words for {name} that can be read: try another model")
        return Words(objects, attributes, sum(not found for found in lists))

    def _composed(self, family: str, count: int) -> list[tuple[str, str]]:
        """Distinct texts of each template of a family in equal numbers, with their categories."""
        templates = _TEMPLATES[family]
        found: list[tuple[str, str]] = []
        for index, (category, compose) in enumerate(templates):
            rng = random.Random(derive(self._writing.seed, family, index, "compose"))
            share = count // len(templates) + (index < count % len(templates))
            found += [(category, text) for text in _distinct(compose, self.listed, rng, share)]
        if len(found) < count:
            _log.warning("%s: %d of %d prompts, the words have no more to give", family, len(found), count)
        return found


def _distinct(compose: Compose, found: Words, rng: random.Random, count: int) -> list[str]:
    texts: dict[str, None] = {}
    misses = 0
    while len(texts) < count and misses < _MAX_MISSES:
        text = compose(found, rng)
        misses = misses + 1 if text in texts else 0
        texts[text] = None
    return list(texts)


def _one(kind: str, found: Words, rng: random.Random) -> str:
    return with_article(f"{rng.choice(found.attributes[kind])} {rng.choice(found.objects)}")


def _two(kind: str, found: Words, rng: random.Random) -> str:
    adjectives, nouns = rng.sample(found.attributes[kind], 2), rng.sample(found.objects, 2)
    first, second = (with_article(f"{adjective} {noun}") for adjective, noun in zip(adjectives, nouns, strict=True))
    return f"{first} and {second}"


def _related(found: Words, rng: random.Random) -> str:
    first, second = (with_article(noun) for noun in rng.sample(found.objects, 2))
    return f"{first} {rng.choice(RELATIONS)} {second}"


def _one_counted(found: Words, rng: random.Random) -> str:
    return counted(rng.randint(1, len(NUMBERS)), rng.choice(found.objects))


def _two_counted(found: Words, rng: random.Random) -> str:
    first, second = (counted(rng.randint(1, len(NUMBERS)), noun) for noun in rng.sample(found.objects, 2))
    return f"{first} and {second}"


_TEMPLATES: dict[str, tuple[tuple[str, Compose], ...]] = {
    "attribute": (
        *((f"attribute1_{kind}", partial(_one, kind)) for kind in words.ATTRIBUTES),
        *(("attribute2", partial(_two, kind)) for kind in words.ATTRIBUTES),
    ),
    "layout": (("layout1", _related), ("layout2", _one_counted), ("layout3", _two_counted)),
}
