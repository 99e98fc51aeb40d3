"""Noun chunks of a prompt, by rule or by spaCy, and what follows from them.

Read this before you compare numbers that stand on noun chunks: the published ones are spaCy's, with en_core_web_sm.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

from selfportrait.asking.phrases import ARTICLES, NUMBERS, head, noun_phrases
from selfportrait.benchmarks._compbench import Objects, person

__all__ = ["DROPPED", "Chunker", "Parsed", "by_rule", "by_spacy", "chunker"]

DROPPED = ("top", "the side", "the left", "the right")
"""Chunks that are parts of a relation; the source leaves out exactly these."""

_AROUND = ("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near")


class Parsed(NamedTuple):
    """A prompt's noun chunks, the two things around its relation, and its text without adjectives."""

    chunks: tuple[str, ...]
    around: Objects
    without_adjectives: str


Chunker = Callable[[str], Parsed]


@cache
def by_rule(text: str) -> Parsed:
    """Read a prompt by the rules of `asking.phrases`: right for "a green bench and a blue bowl" and its like.

    In a free sentence a verb may stay in its chunk, or a noun after it be lost; a participle by itself is left out. The
    last word of a chunk counts as its noun, and those between it and the article as adjectives.
    """
    phrases = [phrase for phrase in noun_phrases(text) if " " in phrase or not phrase.endswith(("ing", "ed"))]
    chunks = tuple(phrase for phrase in phrases if phrase not in DROPPED)
    bare = text.lower()
    for phrase in phrases:
        bare = bare.replace(phrase, _noun(phrase))
    return Parsed(chunks, _around(text), bare)


def _noun(phrase: str) -> str:
    first = phrase.split()[0]
    return f"{first} {head(phrase)}" if first in ARTICLES + NUMBERS else head(phrase)


def _around(text: str) -> Objects:
    """The nouns before and after the first preposition of the list; none where it has none."""
    places = [(text.find(f" {words} "), words) for words in _AROUND if f" {words} " in text]
    if not places:
        return Objects(None, None)
    place, words = min(places)
    before, after = noun_phrases(text[:place]), noun_phrases(text[place + len(words) + 1 :])
    if not before or not after:
        return Objects(None, None)
    return Objects(person(head(before[-1])), person(head(after[0])))


@cache
def by_spacy(text: str) -> Parsed:
    """Read a prompt as the source does, with spaCy's en_core_web_sm, which is installed from its own wheel."""
    document = _language()(text)
    chunks = tuple(str(chunk) for chunk in document.noun_chunks if str(chunk) not in DROPPED)
    bare = " ".join(token.text for token in document if token.pos_ != "ADJ")
    return Parsed(chunks, _around_spacy(document), bare)


def _around_spacy(document: Any) -> Objects:
    """The nearest noun or name before each preposition and the nearest noun after; none unless that makes two."""
    found: list[str] = []
    for place in range(len(document)):
        length = next((n for n in (3, 2, 1) if document[place : place + n].text in _AROUND), 0)
        if length:
            found += [t.text for t in reversed(document[:place]) if t.pos_ in ("NOUN", "PROPN")][:1]
            found += [t.text for t in document[place + length :] if t.pos_ == "NOUN"][:1]
    return Objects(person(found[0]), person(found[1])) if len(found) == 2 else Objects(None, None)


@cache
def _language() -> Any:
    try:
        import spacy  # optional: nothing but this function needs it

        return spacy.load("en_core_web_sm")
    except (ImportError, OSError) as error:
        raise ValueError(
            "chunker = spacy needs spaCy and its model en_core_web_sm: pip install spacy, then python -m spacy "
            "download en_core_web_sm; or take chunker = rule"
        ) from error


def chunker(name: Literal["rule", "spacy"]) -> Chunker:
    """The reader of that name; raises ValueError where spaCy is asked for and not there."""
    if name == "spacy":
        _language()
        return by_spacy
    return by_rule
