"""How many of what a prompt asks for: "three apples and two dogs" is 3 apples and 2 dogs.

Read this to see which words are numbers, what a plural is the plural of, and what a prompt has to hold to be countable.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from selfportrait.asking.phrases import noun_phrases

__all__ = ["Wanted", "given", "read", "singular"]

ARTICLES = ("a", "an")
_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
NUMBERS = {word: number for number, word in enumerate(_WORDS)}
_ALIKE = ("sheep", "deer", "fish", "goldfish", "shrimp", "aircraft", "moose", "bison", "salmon", "squid", "skis")
_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox", "dice": "die", "cacti": "cactus",
    "shoes": "shoe", "canoes": "canoe", "horseshoes": "horseshoe", "toes": "toe", "movies": "movie",
    "cookies": "cookie", "zombies": "zombie", "pies": "pie", "ties": "tie", "neckties": "necktie", "buses": "bus",
    "gases": "gas", "lenses": "lens", "caches": "cache", "axes": "axe", "headaches": "headache", "selfies": "selfie",
    "broccolis": "broccoli", "taxis": "taxi", "kiwis": "kiwi", "bikinis": "bikini", "zucchinis": "zucchini",
    "scissors": "scissors", "binoculars": "binoculars", "sports": "sports", "pants": "pants", "jeans": "jeans",
    "trousers": "trousers", "shorts": "shorts", "tongs": "tongs", "headphones": "headphones",
    **{f"{stem}ves": f"{stem}fe" for stem in ("kni", "li", "wi")},
    **{f"{stem}ves": f"{stem}f" for stem in ("cal", "hal", "lea", "loa", "scar", "shel", "wol", "el", "hoo")},
}  # fmt: skip
_HELD = r"group|bunch|row|pile|stack|set|line|collection|herd|flock|pack|crowd|total|grid"
_PICTURE = r"photo|photograph|picture|image|painting|drawing|sketch|illustration|rendering|render|view|shot|close-?up"
_AS_NUMBERS = (  # what stands for a number, or around one
    (rf"\b(?:an? |the )?(?:[a-z-]+ ){{0,2}}(?:{_PICTURE})s? (?:of|with|showing) ", ""),
    (rf"\b(?:an?|the) (?:{_HELD}) of ", ""),
    (r"\b(?:exactly|precisely|only|just|the) (?=(?:\d|{numbers})\b)".replace("{numbers}", "|".join(NUMBERS)), ""),
    (r"\bhalf a dozen ", "six "),
    (r"\b(?:an?|one) dozen ", "twelve "),
    (r"\b(?:an? |one )?(?:pair|couple) of (?!scissors|binoculars|glasses|pants|jeans|trousers|shorts|tongs)", "two "),
    (r"\b(an?|one|two|three|four|five|six) (?:pairs?) of (?=[a-z]+)", r"\1 "),  # of what comes in pairs
)


@dataclass(frozen=True)
class Wanted:
    """How many of a thing there should be; `is_stated` where a number says so, and not an article."""

    name: str
    count: int
    is_stated: bool = True


def read(text: str) -> list[Wanted]:
    """The counted things of a text, in the singular, in its order; those of one name are added up.

    A number is a word up to twenty, a dozen, a pair, digits, or the article a or an. What has neither ("the dog",
    "several dogs", "dogs") is not counted.
    """
    words = text.lower()
    for pattern, by in _AS_NUMBERS:
        words = re.sub(pattern, by, words)
    found: dict[str, Wanted] = {}
    for one in filter(None, map(_counted, _phrases(words))):
        before = found.get(one.name, Wanted(one.name, 0, False))
        found[one.name] = Wanted(one.name, before.count + one.count, before.is_stated or one.is_stated)
    return list(found.values())


def _phrases(text: str) -> Iterator[str]:
    """Noun phrases that begin with a number or an article; a number starts a phrase of its own."""
    numbers = "|".join([*NUMBERS, r"\d{1,3}"])
    for piece in re.split(rf"(?=\b(?:{numbers})\b)|(?<=[a-z]) *(?:,|\band\b) *(?=(?:an?)\b)", text):
        first, _, rest = piece.strip().partition(" ")
        if first in NUMBERS or re.fullmatch(r"\d{1,3}", first):
            head = re.split(r"(?<=[a-z]) *\b(?:and|or|an?|the)\b|[,.;:!?]", rest)[0]
            phrases, others = noun_phrases(f"some {head}"), noun_phrases(rest[len(head) :])
            yield from (f"{first} {phrase.removeprefix('some ')}" for phrase in phrases[:1])
            yield from (phrase for phrase in (*phrases[1:], *others))
        else:
            yield from noun_phrases(piece)


def _counted(phrase: str) -> Wanted | None:
    first, _, name = phrase.partition(" ")
    words = name.split()
    if not words or not words[-1][0].isalpha():
        return None
    is_stated = first not in ARTICLES
    count = 1 if not is_stated else int(first) if first.isdigit() else NUMBERS.get(first)
    if count is None:
        return None
    return Wanted(" ".join(words if count == 1 else _of_several(words)), count, is_stated)


def _of_several(words: list[str]) -> list[str]:
    """Up to the first plural, which becomes singular: what follows it is a verb ("dogs chase", "cats sleeping")."""
    last = next((index for index, word in enumerate(words) if singular(word) != word or word in _ALIKE), len(words) - 1)
    return [*words[:last], singular(words[last])]


def singular(noun: str) -> str:
    """The singular of a noun; one that is no plural comes back as it is."""
    if noun in _ALIKE or noun in _IRREGULAR:
        return _IRREGULAR.get(noun, noun)
    for ending, by in (("firemen", "fireman"), ("women", "woman"), ("men", "man"), ("children", "child")):
        if noun.endswith(ending) and len(noun) > len(ending):
            return noun.removesuffix(ending) + by
    if re.search(r"[^aeiou]ies$", noun):
        return f"{noun[:-3]}y"
    if re.search(r"(?:s|x|z|ch|sh)es$", noun) and not re.search(r"(?:[aoulnr]se)s$", noun):
        return noun[:-2]
    if re.search(r"[^aeiou]oes$", noun):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def given(spec: Mapping[str, Any]) -> list[Wanted]:
    """The counts that a prompt's spec gives: `{"counts": {"dog": 2}}`, or `include` as GenEval has it.

    Raises ValueError where they are no such counts.
    """
    if "counts" in spec:
        pairs = list(spec["counts"].items()) if isinstance(spec["counts"], Mapping) else [(None, None)]
    else:
        pairs = [(one.get("class"), one.get("count", 1)) for one in spec.get("include") or ()]
    found: dict[str, int] = {}
    for name, count in pairs:
        if not isinstance(name, str) or not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"the spec {dict(spec)!r} holds no counts: expected names with whole numbers from 0 up")
        found[name] = found.get(name, 0) + count
    return [Wanted(name, count) for name, count in found.items()]
