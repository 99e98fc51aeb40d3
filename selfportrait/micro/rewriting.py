"""Exact edits of claims: perturbed ones that conflict, detailed ones that do not, and what is wrong with a text.

Read this to see what a perturbed or detailed prompt of the micro world can be. Every claim made here is checked by
`logic.entails` before it is returned.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from selfportrait.asking.densify import Dense
from selfportrait.asking.perturb import Edit
from selfportrait.micro.language import NUMBERS, PLACES, RELATIONS, SIZES, Claim, Phrase, parse
from selfportrait.micro.logic import entails
from selfportrait.micro.world import BACKGROUNDS, COLOURS, SHAPES

__all__ = ["densify", "density_fault", "perturb", "perturbation_fault"]

MOST_SHAPES = 6  # in a perturbed claim, as in the prompts of the micro world
MOST_RELATED = 4  # shapes to which a relation is added: with more, few layouts fulfil it
Options = Iterator[tuple[str, Claim]]  # what was changed, and the claim after it


def perturb(claim: Claim, edit: Edit, rng: random.Random) -> Claim | None:
    """Change a claim so that its pictures are no longer faithful to it; None where the edit finds nothing to change.

    Relations are edited in claims about relations and numbers in claims about numbers, as OSPO does; in others
    everything is. What is replaced is replaced by what the claim does not name.
    """
    by_part: dict[str, list[Claim]] = {}
    for part, changed in _EDITS[edit](claim):
        if not entails(changed, claim):
            by_part.setdefault(part, []).append(changed)
    for wanted in ({"relation", "place"}, {"count"}):
        if _is_about(claim, wanted) and wanted & by_part.keys():
            by_part = {part: several for part, several in by_part.items() if part in wanted}
    return rng.choice(by_part[rng.choice(sorted(by_part))]) if by_part else None


def _is_about(claim: Claim, parts: set[str]) -> bool:
    is_plain = claim.background is None and all(phrase.size is None for phrase in claim.phrases)
    if parts == {"count"}:
        return is_plain and claim.relation is None and all(phrase.is_counted for phrase in claim.phrases)
    is_placed = claim.relation is not None or claim.place is not None
    return is_plain and is_placed and not any(phrase.is_counted for phrase in claim.phrases)


def _with(claim: Claim, index: int, phrase: Phrase) -> Claim:
    return replace(claim, phrases=(*claim.phrases[:index], phrase, *claim.phrases[index + 1 :]))


def _replaced(claim: Claim) -> Options:
    if claim.relation:
        yield from (("relation", replace(claim, relation=value)) for value in RELATIONS if value != claim.relation)
    if claim.place:
        yield from (("place", replace(claim, place=value)) for value in PLACES if value != claim.place)
    if claim.background:
        others = [value for value in BACKGROUNDS if value != claim.background]
        yield from (("background", replace(claim, background=value)) for value in others)
    named = {word for phrase in claim.phrases for word in (phrase.colour, phrase.shape)}
    counts = {phrase.count for phrase in claim.phrases}
    total = sum(phrase.count for phrase in claim.phrases)
    for index, phrase in enumerate(claim.phrases):
        if phrase.colour:
            colours = [value for value in COLOURS if value not in named]
            yield from (("colour", _with(claim, index, replace(phrase, colour=value))) for value in colours)
        shapes = [value for value in SHAPES if value not in named]
        yield from (("shape", _with(claim, index, replace(phrase, shape=value))) for value in shapes)
        if phrase.is_counted:
            most = MOST_SHAPES - total + phrase.count
            numbers = [value for value in range(1, most + 1) if value not in counts]
            yield from (("count", _with(claim, index, replace(phrase, count=value))) for value in numbers)
        if phrase.size:
            yield from (
                ("size", _with(claim, index, replace(phrase, size=value))) for value in SIZES if value != phrase.size
            )


def _swapped(claim: Claim) -> Options:
    if claim.relation:
        yield "relation", replace(claim, phrases=claim.phrases[::-1])
    for first, second in combinations(range(len(claim.phrases)), 2):
        a, b = claim.phrases[first], claim.phrases[second]
        if a.colour and b.colour:
            yield "colour", _both(claim, first, replace(a, colour=b.colour), second, replace(b, colour=a.colour))
        if a.size and b.size:
            yield "size", _both(claim, first, replace(a, size=b.size), second, replace(b, size=a.size))
        if a.is_counted and b.is_counted:
            yield "count", _both(claim, first, replace(a, count=b.count), second, replace(b, count=a.count))


def _both(claim: Claim, first: int, a: Phrase, second: int, b: Phrase) -> Claim:
    return _with(_with(claim, first, a), second, b)


def _dropped(claim: Claim) -> Options:
    if claim.relation:
        yield "relation", replace(claim, relation=None)
    elif len(claim.phrases) > 1:
        for index in range(len(claim.phrases)):
            yield "object", replace(claim, phrases=claim.phrases[:index] + claim.phrases[index + 1 :])
    if claim.place:
        yield "place", replace(claim, place=None)
    if claim.background:
        yield "background", replace(claim, background=None)
    for index, phrase in enumerate(claim.phrases):
        if phrase.size:
            yield "size", _with(claim, index, replace(phrase, size=None))


_EDITS: dict[Edit, Callable[[Claim], Options]] = {"replace": _replaced, "swap": _swapped, "drop": _dropped}


def perturbation_fault(base: str, text: str, edit: Edit) -> str | None:
    """What is wrong with a perturbed prompt, None for a good one.

    It has to be a prompt of the micro language, with pictures that are not faithful to the base prompt, and made by the
    edit that was asked for: "replace" names something new, "swap" the same things, "drop" fewer.
    """
    before = parse(base)
    try:
        after = parse(text)
    except ValueError:
        return "not in the language"
    if entails(after, before):
        return "no conflict"
    named, kept = _named(after), _named(before)
    found = "swap" if named == kept else "drop" if named < kept else "replace"
    return None if found == edit else f"{found} instead of {edit}"


def _named(claim: Claim) -> Counter[str]:
    """The words of a claim that mean something, each as often as it is said."""
    words = [claim.relation, claim.place, claim.background, claim.word]
    for phrase in claim.phrases:
        words += [phrase.shape, phrase.colour, phrase.size, NUMBERS[phrase.count - 1] if phrase.is_counted else None]
    return Counter(word for word in words if word)


class Pair(NamedTuple):
    """A claim and the one that was made from it."""

    base: Claim
    perturbed: Claim


Addition = Callable[[Claim], Claim]


def densify(base: Claim, perturbed: Claim, rng: random.Random) -> Pair:
    """Add one or two things to both claims alike that neither says: a background, a place, a relation, colours, sizes.

    Each detailed claim still says all that its short one says, and the perturbed one still conflicts with the base.
    Both come back as they are where there is nothing to add.
    """
    additions = _additions(base, perturbed)
    for count in (rng.choice((1, 2)), 1):
        kinds = rng.sample(sorted(additions), min(count, len(additions)))
        pair = Pair(base, perturbed)
        for kind in kinds:
            add = rng.choice(additions[kind])
            pair = Pair(add(pair.base), add(pair.perturbed))
        if _is_faithful(pair, base, perturbed):
            return pair
    return Pair(base, perturbed)


def _is_faithful(pair: Pair, base: Claim, perturbed: Claim) -> bool:
    is_kept = entails(pair.base, base) and entails(pair.perturbed, perturbed)
    return is_kept and not entails(pair.perturbed, base)


def _additions(base: Claim, perturbed: Claim) -> dict[str, list[Addition]]:
    both = (base, perturbed)
    found: dict[str, list[Addition]] = {}
    if not any(claim.background for claim in both):
        found["background"] = [_background(value) for value in BACKGROUNDS]
    if not any(claim.relation or claim.place for claim in both):
        if all(len(claim.phrases) == 1 and claim.phrases[0].count == 1 for claim in both):
            found["place"] = [_place(value) for value in PLACES]
        if all(
            len(claim.phrases) == 2 and sum(phrase.count for phrase in claim.phrases) <= MOST_RELATED for claim in both
        ):
            found["relation"] = [_relation(value) for value in RELATIONS]
    shared = range(min(len(claim.phrases) for claim in both))
    open_colours = [i for i in shared if all(claim.phrases[i].colour is None for claim in both)]
    open_sizes = [i for i in shared if all(claim.phrases[i].size is None for claim in both)]
    if open_colours:
        found["colour"] = [_colour(index, value) for index in open_colours for value in COLOURS]
    if open_sizes:
        found["size"] = [_size(index, value) for index in open_sizes for value in SIZES]
    return found


def _background(value: str) -> Addition:
    return lambda claim: replace(claim, background=value)


def _place(value: str) -> Addition:
    return lambda claim: replace(claim, place=value)


def _relation(value: str) -> Addition:
    return lambda claim: replace(claim, relation=value)


def _colour(index: int, value: str) -> Addition:
    return lambda claim: _with(claim, index, replace(claim.phrases[index], colour=value))


def _size(index: int, value: str) -> Addition:
    return lambda claim: _with(claim, index, replace(claim.phrases[index], size=value))


def density_fault(base: str, perturbed: str, dense: Dense) -> str | None:
    """What is wrong with two detailed prompts, None for good ones.

    Each has to say all that its short prompt says; the perturbed one must still conflict with the base prompt; and
    where the short prompts do not differ in it, both must have the same background.
    """
    short = Pair(parse(base), parse(perturbed))
    try:
        pair = Pair(parse(dense.base), parse(dense.perturbed))
    except ValueError:
        return "not in the language"
    if not entails(pair.base, short.base) or not entails(pair.perturbed, short.perturbed):
        return "unfaithful base" if not entails(pair.base, short.base) else "unfaithful perturbed"
    if entails(pair.perturbed, short.base):
        return "no conflict"
    is_shared = short.base.background == short.perturbed.background
    return "another background" if is_shared and pair.base.background != pair.perturbed.background else None
