"""A seeded generator of (prompt, scene) for each category, and the split into training and held-out prompts.

A prompt's text alone decides its split, so the two sets are disjoint by construction, whoever draws from them.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from selfportrait.micro.language import PLACES, RELATIONS, Claim, Phrase, parse, questions, say
from selfportrait.micro.words import room, words
from selfportrait.micro.world import BACKGROUNDS, CELL, COLOURS, GRID, JITTER, SHAPES, Item, Scene, Word
from selfportrait.types import Prompt

__all__ = [
    "CATEGORIES",
    "Categories",
    "SHAPE_CATEGORIES",
    "claim",
    "is_held_out",
    "lay_out",
    "place_word",
    "prompts",
    "scatter",
    "with_one_more",
]

SHAPE_CATEGORIES = ("color", "shape", "spatial", "numeracy", "complex")
CATEGORIES = (*SHAPE_CATEGORIES, "text")
Categories = Annotated[
    tuple[Literal["color", "shape", "spatial", "numeracy", "complex", "text"], ...], Field(min_length=1)
]
WORD_JITTER = (1, 6)  # pixels across and down
_CELLS = [(column, row) for row in range(GRID) for column in range(GRID)]
_NAMED_BACKGROUNDS = [name for name in BACKGROUNDS if name != "black"]


def is_held_out(text: str) -> bool:
    """One prompt in five is held out, by the hash of its text."""
    return hashlib.sha256(text.encode()).digest()[0] % 5 == 0


def _colours(rng: random.Random, count: int) -> list[str]:
    return rng.sample(list(COLOURS), count)


def _shapes(rng: random.Random, count: int) -> list[str]:
    return rng.sample(SHAPES, count)


def _color_claim(rng: random.Random) -> Claim:
    kind = rng.choices(("one", "two", "three", "background"), (15, 60, 15, 10))[0]
    count = {"two": 2, "three": 3}.get(kind, 1)
    phrases = tuple(Phrase(1, rng.choice(SHAPES), colour) for colour in _colours(rng, count))
    return Claim(phrases, background=rng.choice(_NAMED_BACKGROUNDS) if kind == "background" else None)


def _shape_claim(rng: random.Random) -> Claim:
    kind = rng.choices(("same colour", "open colour", "three"), (55, 20, 25))[0]
    shapes = _shapes(rng, 3 if kind == "three" else 2)
    colour = None if kind == "open colour" else rng.choice(list(COLOURS))
    return Claim(tuple(Phrase(1, shape, colour) for shape in shapes))


def _two_kinds(rng: random.Random) -> tuple[tuple[str, str], tuple[str, str]]:
    first, second = rng.sample([(colour, shape) for colour in COLOURS for shape in SHAPES], 2)
    return first, second


def _spatial_claim(rng: random.Random) -> Claim:
    if rng.random() < 0.25:
        return Claim((Phrase(1, rng.choice(SHAPES), rng.choice(list(COLOURS))),), place=rng.choice(PLACES))
    phrases = tuple(Phrase(1, shape, colour) for colour, shape in _two_kinds(rng))
    return Claim(phrases, relation=rng.choice(RELATIONS))


def _numeracy_claim(rng: random.Random) -> Claim:
    kind = rng.choices(("one kind", "open colour", "two kinds"), (45, 15, 40))[0]
    if kind == "two kinds":
        first = rng.randint(1, 5)
        counts = (first, rng.randint(1, 6 - first))
        kinds = zip(counts, _two_kinds(rng), strict=True)
        return Claim(tuple(Phrase(count, shape, colour, None, True) for count, (colour, shape) in kinds))
    colour = None if kind == "open colour" else rng.choice(list(COLOURS))
    return Claim((Phrase(rng.randint(1, 6), rng.choice(SHAPES), colour, None, True),))


def _complex_claim(rng: random.Random) -> Claim:
    kind = rng.choice(("sizes", "counted relation", "sized relation", "count and background", "place and background"))
    (colour, shape), (other_colour, other_shape) = _two_kinds(rng)
    size, other_size = rng.choice((("small", "large"), ("large", "small")))
    background = rng.choice(_NAMED_BACKGROUNDS)
    first, second = Phrase(1, shape, colour), Phrase(1, other_shape, other_colour)
    if kind == "sizes":
        sized = (Phrase(1, shape, colour, size), Phrase(1, other_shape, other_colour, other_size))
        return Claim(sized, background=background if rng.random() < 0.5 else None)
    if kind == "counted relation":
        return Claim((Phrase(rng.randint(2, 3), shape, colour, None, True), second), relation=rng.choice(RELATIONS))
    if kind == "sized relation":
        return Claim((Phrase(1, shape, colour, size), second), relation=rng.choice(RELATIONS), background=background)
    if kind == "count and background":
        return Claim((Phrase(rng.randint(2, 4), shape, colour, None, True), second), background=background)
    return Claim((first,), place=rng.choice(PLACES), background=background)


def _text_claim(rng: random.Random) -> Claim:
    return Claim(word=rng.choice(words()).lower())


_CLAIMS = {
    "color": _color_claim,
    "shape": _shape_claim,
    "spatial": _spatial_claim,
    "numeracy": _numeracy_claim,
    "complex": _complex_claim,
    "text": _text_claim,
}


def claim(category: str, rng: random.Random) -> Claim:
    """Draw a claim of a category."""
    if category not in _CLAIMS:
        raise ValueError(f"the micro world has no category {category!r}; it has {', '.join(CATEGORIES)}")
    return _CLAIMS[category](rng)


def _cells(claim: Claim, count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Cells (column, row) for the items in phrase order, redrawn until the relation and the place hold."""
    while True:
        cells = rng.sample(_CELLS, count)
        if _is_placed(claim, cells):
            return cells


def _is_placed(claim: Claim, cells: list[tuple[int, int]]) -> bool:
    if claim.place and not _is_cell_at(cells[-1], claim.place):
        return False
    if not claim.relation:
        return True
    split = claim.phrases[0].count
    first, second = cells[:split], cells[split:]
    dx, dy = (sum(c[axis] for c in second) / len(second) - sum(c[axis] for c in first) / len(first) for axis in (0, 1))
    main, other = {"left of": (dx, dy), "right of": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}[claim.relation]
    return main > abs(other) + 0.3 and main >= 1  # jitter moves a centre by less than 0.15 of a cell either way


def _is_cell_at(cell: tuple[int, int], place: str) -> bool:
    column, row = cell
    if place == "center":
        return column in (1, 2) and row in (1, 2)
    vertical, horizontal = place.split()
    return (row < 2) == (vertical == "top") and (column < 2) == (horizontal == "left")


def with_one_more(claim: Claim, rng: random.Random) -> Claim:
    """The claim with one more shape of one of its kinds, a counted one if there is any."""
    counted = [index for index, phrase in enumerate(claim.phrases) if phrase.is_counted]
    index = rng.choice(counted or range(len(claim.phrases)))
    more = replace(claim.phrases[index], count=claim.phrases[index].count + 1)
    return replace(claim, phrases=(*claim.phrases[:index], more, *claim.phrases[index + 1 :]))


def lay_out(claim: Claim, rng: random.Random) -> Scene:
    """Draw a scene that fulfils a claim exactly: what it leaves open is random, what it does not name is absent."""
    if claim.word is not None:
        return Scene(word=place_word(claim.word, rng))
    kinds = [phrase for phrase in claim.phrases for _ in range(phrase.count)]
    items = []
    for phrase, (column, row) in zip(kinds, _cells(claim, len(kinds), rng), strict=True):
        size = phrase.size or "medium"
        x, y = (cell * CELL + CELL // 2 + rng.randint(-JITTER[size], JITTER[size]) for cell in (column, row))
        items.append(Item(phrase.colour or rng.choice(list(COLOURS)), phrase.shape, size, x, y))
    rng.shuffle(items)
    return Scene(tuple(items), claim.background or "black")


def place_word(text: str, rng: random.Random) -> Word:
    """Give a word a random colour and a small random shift that keeps it on the canvas."""
    across, down = (max(min(limit, most), 0) for limit, most in zip(room(text), WORD_JITTER, strict=True))
    return Word(text, rng.choice(list(COLOURS)), rng.randint(-across, across), rng.randint(-down, down))


def prompts(category: str, *, held_out: bool, seed: int) -> Iterator[Prompt]:
    """Yield distinct prompts of one category and split, in an order that the seed decides; ends when none is left."""
    rng = random.Random(f"{category}-{held_out}-{seed}")
    seen: set[str] = set()
    misses = 0
    while misses < 20_000:
        text = say(claim(category, rng))
        if text in seen or is_held_out(text) != held_out:
            misses += 1
            continue
        misses = 0
        seen.add(text)
        yield Prompt(
            f"{category}-{hashlib.sha256(text.encode()).hexdigest()[:12]}", text, category, questions(parse(text))
        )


def scatter(rng: random.Random, count: int) -> Scene:
    """A scene of `count` random shapes that no prompt describes, for training autoencoders."""
    items = []
    for column, row in rng.sample(_CELLS, count):
        size = rng.choices(("small", "medium", "large"), (2, 5, 2))[0]
        x, y = (cell * CELL + CELL // 2 + rng.randint(-JITTER[size], JITTER[size]) for cell in (column, row))
        items.append(Item(rng.choice(list(COLOURS)), rng.choice(SHAPES), size, x, y))
    return Scene(tuple(items), rng.choice(list(BACKGROUNDS)))
