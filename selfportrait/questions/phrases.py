"""Noun phrases as questions: one "is there" for every thing that a caption names, by a few rules and no parser.

Read this for what the rules are and where they fail; they are made for captions of one short sentence.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from selfportrait.asking.base import Written
from selfportrait.asking.words import is_plural, with_article
from selfportrait.types import Prompt, Question

__all__ = ["Phrases"]

_ARTICLES = ("a", "an", "the", "his", "her", "its", "their")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "some", "several", "many")
_PLACES = ("left", "right", "top", "bottom", "side", "front", "back", "center", "centre", "middle", "row", "rows")
_BETWEEN = (  # what stands between two noun phrases
    r"(?:to|on|at|in) (?:the )?(?:left|right|top|bottom|side|front|back|center|centre|middle)(?: (?:left|right))?"
    r"(?: of)?"
    r"|(?:left|right|inside|outside|out) of|(?:next|close) to"
    r"|is|are|was|were|has|have|being|be|been|that|which|who|while|with|without|and|or|but|as|there"
    r"|of|in|on|at|by|to|from|into|onto|over|under|above|below|behind|beside|between|near|inside|around|against|through"
    r"|across|along|beneath|underneath|atop|amid|among|towards|for"
)
_DETERMINER = "|".join(_ARTICLES + _NUMBERS)
_SPLIT = re.compile(rf"[.;:!?]|,(?= *(?:{_DETERMINER})\b)|\b(?:{_BETWEEN})\b")
_STARTS = re.compile(rf"\b(?=(?:{_DETERMINER})\b)")


class Phrases:
    """Ask "is there" about every noun phrase of a prompt, and nothing about how the things stand to each other.

    Source: the ablation of SILMM (https://arxiv.org/abs/2412.05818) that asks about noun phrases. Differs from the
    source: a phrase is what stands between prepositions, conjunctions, forms of to be and articles, instead of what a
    parser finds. Left out of it are a participle after the noun ("wearing"), a word between it and the next article
    ("chases"), and an s-form after "a" ("stands"). Other verbs stay in ("the cat sleeps on"), and what follows a
    participle without an article is lost. A prompt in which nothing is found is left out and counted.
    """

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The prompts with one question a noun phrase, in the order of the text, none twice."""
        asked = [replace(prompt, questions=tuple(map(_question, _phrases(prompt.text)))) for prompt in prompts]
        found = [prompt for prompt in asked if prompt.questions]
        lacking = len(asked) - len(found)
        return Written(found, {"no noun phrase": lacking} if lacking else {})


def _phrases(text: str) -> list[str]:
    """The noun phrases of a caption, lower case, with their articles or numbers."""
    found = []
    for piece in _SPLIT.split(text.lower()):
        starts = sorted({0, *(match.start() for match in _STARTS.finditer(piece))})
        ends = [*starts[1:], len(piece)]
        for start, end in zip(starts, ends, strict=True):
            words = piece[start:end].replace(",", " ").split()
            found.append(" ".join(_without_verb(words, has_object=end < len(piece))))
    return list(dict.fromkeys(phrase for phrase in found if _names_something(phrase)))


def _without_verb(words: list[str], *, has_object: bool) -> list[str]:
    is_determined = bool(words) and words[0] in _ARTICLES + _NUMBERS
    after_noun = range(2 if is_determined else 1, len(words) if has_object else len(words) - 1)  # a ring is no verb
    participle = next((i for i in after_noun if words[i].endswith("ing")), None)
    if participle is not None:
        return words[:participle]
    is_s_form = words[:1] in (["a"], ["an"]) and len(words) > 2 and is_plural(words[-1])
    return words[:-1] if has_object or is_s_form else words


def _names_something(phrase: str) -> bool:
    last = phrase.split()[-1:]
    return any(word[0].isalpha() and word not in _ARTICLES + _NUMBERS + _PLACES for word in last)


def _question(phrase: str) -> Question:
    first, _, rest = phrase.partition(" ")
    if first in _NUMBERS:
        return Question(f"{'Is' if first == 'one' else 'Are'} there {phrase}?")
    noun = rest if first in _ARTICLES else phrase
    head = re.sub(r" \w+ing$", "", noun).split()[-1]
    return Question(f"Are there {noun}?" if is_plural(head) else f"Is there {with_article(noun)}?")
