"""Noun chunks of a prompt, by rule or by spaCy, and what follows from them.

Read this before you compare numbers that stand on noun chunks: the published ones are spaCy's, with en_core_web_sm.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

from selfportrait.benchmarks._compbench import Objects, person, words

__all__ = ["CHUNKERS", "Chunker", "Parsed", "by_rule", "by_spacy", "chunker"]

CHUNKERS = ("rule", "spacy")
DROPPED = ("top", "the side", "the left", "the right")
"""Chunks that are parts of a relation; the source leaves out exactly these."""

_DETERMINERS = frozenset(
    words(
        "a an the this that these those his her its their our your my some any each every both another several many "
        "one two three four five six seven eight nine ten"
    )
)
_STOPS = frozenset(
    words(
        # prepositions and particles
        "of in on at by for from to with without over under above below behind beneath beside besides between among "
        "around across against along into onto through throughout near next inside outside out off up down upon toward "
        "towards during while as than like within via before after "
        # conjunctions and pronouns
        "and or but nor so yet if when where which who whom whose what he she it they we i you him them us there "
        "himself herself themselves itself "
        # verbs that stand between things
        "is are was were be been being am has have had do does did can could will would may might must should "
        "sits sit sat stands stand stood lies lie lay hangs hang hung rests rest keeps keep kept holds hold held "
        "shines shine shone makes make made gives give gave adds add fills fill covers cover wears wear wore "
        "goes go went runs run ran flies fly flew grows grow grew shows show shapes cuts cut contains contain "
        "reflects reflect contrasts contrast creates create becomes become looks look seems seem feels feel plays play "
        "carries carry leads lead looked leans lean casts cast provides provide complements complement "
        "surrounds surround "
        # adverbs
        "very quite not also just too then together side front top-down gently softly neatly"
    )
)
_THINGS = frozenset(
    words("building painting ceiling swing clothing earring string wedding hundred lightning morning evening")
)


class Parsed(NamedTuple):
    """A prompt's noun chunks, the two things around its relation, and its text without adjectives."""

    chunks: tuple[str, ...]
    around: Objects
    without_adjectives: str


Chunker = Callable[[str], Parsed]
_AROUND = ("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near")


@cache
def by_rule(text: str) -> Parsed:
    """Read a prompt by word lists: a chunk runs from an article or from a stop to the next stop.

    Right for "a green bench and a blue bowl" and its like; in free sentences a verb or adverb outside the lists stays
    in its chunk. The last word of a chunk counts as its noun, those between it and the article as adjectives.
    """
    runs = [run for run in _runs(words(text)) if not _is_bare_verb([word for word, _ in run])]
    trimmed = [_without_participle(run, words(text)) for run in runs]
    chunks = [" ".join(word for word, _ in run) for run in trimmed]
    kept = tuple(chunk for chunk in chunks if chunk not in DROPPED)
    adjectives = {place for run in trimmed for word, place in run[:-1] if word.lower() not in _DETERMINERS}
    bare = " ".join(word for place, word in enumerate(words(text)) if place not in adjectives)
    return Parsed(kept, _around(text, trimmed), bare)


Run = list[tuple[str, int]]


def _runs(tokens: list[str]) -> list[Run]:
    runs: list[Run] = [[]]
    for place, token in enumerate(tokens):
        low = token.lower()
        if low in _STOPS or not re.match(r"\w", token):
            runs.append([])
        elif low in _DETERMINERS:
            runs.append([(token, place)])
        else:
            runs[-1].append((token, place))
    return [run for run in runs if any(word.lower() not in _DETERMINERS for word, _ in run)]


def _is_bare_verb(run: list[str]) -> bool:
    return len(run) == 1 and _may_be_verb(run[0])


def _without_participle(run: Run, tokens: list[str]) -> Run:
    """Drop "draped" from "the soft pink blanket draped over": a participle at the end, before what it governs."""
    word, place = run[-1]
    follows = tokens[place + 1].lower() if place + 1 < len(tokens) else "."
    is_verb = (
        _may_be_verb(word) and follows in _STOPS | _DETERMINERS and follows not in ("and", "or", "of", "is", "was")
    )
    return run[:-1] if is_verb and len(run) > 2 else run


def _may_be_verb(word: str) -> bool:
    """Whether a word ends like a participle or an adverb and is no thing that is often in these prompts."""
    low = word.lower()
    return len(low) > 4 and low.endswith(("ed", "ing", "ly")) and low not in _THINGS


def _around(text: str, runs: list[Run]) -> Objects:
    """The nouns before and after the first preposition of the list; none where it has none."""
    tokens = words(text)
    for place in range(len(tokens)):
        for length in (3, 2, 1):
            if " ".join(tokens[place : place + length]) in _AROUND:
                before = [run[-1][0] for run in runs if run[-1][1] < place]
                after = [run[-1][0] for run in runs if run[0][1] >= place + length]
                if before and after:
                    return Objects(person(before[-1]), person(after[0]))
    return Objects(None, None)


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
