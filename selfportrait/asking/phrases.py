"""Noun phrases of a caption by a few rules and no parser, and the things that they name.

Read this for what the rules are and where they fail; they are made for captions of one short sentence.
"""

import re

from selfportrait.asking.words import is_plural

__all__ = ["ARTICLES", "NUMBERS", "head", "noun_phrases", "objects"]

ARTICLES = ("a", "an", "the", "his", "her", "its", "their")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "some", "several", "many")
_PLACES = ("left", "right", "top", "bottom", "side", "front", "back", "center", "centre", "middle", "row", "rows")
_BETWEEN = (  # what stands between two noun phrases
    r"(?:to|on|at|in) (?:the )?(?:left|right|top|bottom|side|front|back|center|centre|middle)(?: (?:left|right))?"
    r"(?: of)?"
    r"|(?:left|right|inside|outside|out) of|(?:next|close) to"
    r"|is|are|was|were|has|have|being|be|been|that|which|who|while|with|without|and|or|but|as|there"
    r"|of|in|on|at|by|to|from|into|onto|over|under|above|below|behind|beside|between|near|inside|around|against|through"
    r"|across|along|beneath|underneath|atop|amid|among|towards|for"
)
_DETERMINER = "|".join(ARTICLES + NUMBERS)
_SPLIT = re.compile(rf"[.;:!?]|,(?= *(?:{_DETERMINER})\b)|\b(?:{_BETWEEN})\b")
_STARTS = re.compile(rf"\b(?=(?:{_DETERMINER})\b)")
_NO_OBJECTS = (*_PLACES, "range", "background")  # OSPO's list, and a background, which is where nothing else is
_SHEARS = (
    "scissors",
    "skis",
    "pants",
    "jeans",
    "trousers",
    "shorts",
    "glasses",
    "sunglasses",
    "binoculars",
    "headphones",
)
_COMPOUNDS = (  # whose first word only looks like a verb
    "parking meter", "parking lot", "dining table", "dining room", "living room", "washing machine", "sewing machine",
    "swimming pool", "frying pan", "cutting board", "ironing board", "rocking chair", "sleeping bag", "shopping cart",
    "shopping bag", "fishing rod", "chewing gum",
)  # fmt: skip
_NO_PARTICIPLE = r"r|k|w|str|sw|spr|br|earr|build|paint|draw|ceil|cloth|pudd|end"  # ring, king, wing, string, ...


def noun_phrases(text: str) -> list[str]:
    """The noun phrases of a caption, lower case, with their articles or numbers, none twice.

    A phrase is what stands between prepositions, conjunctions, forms of to be and articles. Left out of it are a
    participle after the noun ("wearing", but not that of "parking meter"), a word between it and the next article
    ("chases"), and an s-form after "a" ("stands", but not "scissors"). Other verbs stay in ("the cat sleeps on"), and
    what follows a participle without an article is lost.
    """
    found = []
    for piece in _SPLIT.split(text.lower()):
        starts = sorted({0, *(match.start() for match in _STARTS.finditer(piece))})
        ends = [*starts[1:], len(piece)]
        for start, end in zip(starts, ends, strict=True):
            words = piece[start:end].replace(",", " ").split()
            found.append(" ".join(_without_verb(words, has_object=end < len(piece))))
    return list(dict.fromkeys(phrase for phrase in found if _names_something(phrase)))


def _without_verb(words: list[str], *, has_object: bool) -> list[str]:
    is_determined = bool(words) and words[0] in ARTICLES + NUMBERS
    after_noun = range(2 if is_determined else 1, len(words) if has_object else len(words) - 1)  # a ring is no verb
    participle = next((i for i in after_noun if words[i].endswith("ing") and not _is_compound(words[i : i + 2])), None)
    if participle is not None:
        return words[:participle]
    is_s_form = words[:1] in (["a"], ["an"]) and len(words) > 2 and is_plural(words[-1]) and words[-1] not in _SHEARS
    return words[:-1] if has_object or is_s_form else words


def _is_compound(words: list[str]) -> bool:
    return " ".join(words) in _COMPOUNDS or " ".join(words).removesuffix("s") in _COMPOUNDS


def _names_something(phrase: str) -> bool:
    last = phrase.split()[-1:]
    return any(word[0].isalpha() and word not in ARTICLES + NUMBERS + _PLACES for word in last)


def head(phrase: str) -> str:
    """The word that names the thing: the last, or the one before a participle at the end ("children playing")."""
    return re.sub(rf" (?!(?:{_NO_PARTICIPLE})ing$)\w+ing$", "", phrase).split()[-1]


def objects(text: str) -> list[str]:
    """The words for the things that a caption names, in its order, none twice."""
    return [word for word in dict.fromkeys(map(head, noun_phrases(text))) if word not in _NO_OBJECTS]
