"""Noun phrases as questions: one "is there" for every thing that a caption names."""

from collections.abc import Sequence
from dataclasses import replace

from selfportrait.asking.base import Written
from selfportrait.asking.phrases import ARTICLES, NUMBERS, head, noun_phrases
from selfportrait.asking.words import is_plural, with_article
from selfportrait.types import Prompt, Question

__all__ = ["Phrases"]


class Phrases:
    """Ask "is there" about every noun phrase of a prompt, and nothing about how the things stand to each other.

    Source: the ablation of SILMM (https://arxiv.org/abs/2412.05818) that asks about noun phrases. Differs from the
    source: phrases are found by the rules of `asking.phrases` instead of a parser. A prompt in which nothing is found
    is left out and counted.
    """

    def __call__(self, prompts: Sequence[Prompt]) -> Written:
        """The prompts with one question a noun phrase, in the order of the text, none twice."""
        asked = [replace(prompt, questions=tuple(map(_question, noun_phrases(prompt.text)))) for prompt in prompts]
        found = [prompt for prompt in asked if prompt.questions]
        lacking = len(asked) - len(found)
        return Written(found, {"no noun phrase": lacking} if lacking else {})


def _question(phrase: str) -> Question:
    first, _, rest = phrase.partition(" ")
    if first in NUMBERS:
        return Question(f"{'Is' if first == 'one' else 'Are'} there {phrase}?")
    noun = rest if first in ARTICLES else phrase
    return Question(f"Are there {noun}?" if is_plural(head(noun)) else f"Is there {with_article(noun)}?")
