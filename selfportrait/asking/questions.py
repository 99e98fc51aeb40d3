"""Asking for questions: a prompt into yes/no questions about its concepts and relations.

Read this for the worked examples and for how an answer is split. The wording is ours; the steps are those of SILMM
(https://arxiv.org/abs/2412.05818) and OSPO (https://arxiv.org/abs/2506.02015).
"""

from collections.abc import Sequence

from selfportrait.asking.base import Style, Turn, Unreadable, few_shot, has_speaker, one_line, texts
from selfportrait.asking.captions import family

__all__ = ["LABEL", "answer", "conversation", "read", "whole_question"]

LABEL = "Questions:"
SYSTEM = (
    "Divide a caption into its smallest units: every object with its attributes, every number, every relation. Then "
    "ask one question about each unit that can be answered with yes or no, and to which a faithful picture says yes. "
    "Name things in full in every question instead of saying it, he, she or they."
)

_SHOTS = texts("questions")


def conversation(text: str, category: str, style: Style) -> list[Turn]:
    """Ask for a caption's questions, after three or four examples of the category's kind.

    In the compact style the request begins with the word it asks for, because there is nothing else to tell it by.
    """
    known = "complex" if family(category) == "non-spatial" else family(category)
    shots = [(shot["text"], answer(shot["units"], shot["questions"], style)) for shot in _SHOTS[known]]
    return few_shot(SYSTEM, shots, f"{LABEL} {text}" if style == "compact" else text, style)


def answer(units: str, questions: Sequence[str], style: Style) -> str:
    """An example as the model should write it; in the compact style without the units."""
    asked = f"{LABEL} {' '.join(questions)}"
    return asked if style == "compact" else f"Units: {units}; {asked}"


def read(text: str) -> list[str]:
    """Split what follows the label on question marks, without what another speaker says and without repetitions.

    The order is kept. Words after the last question mark are no question. Raises Unreadable where nothing is left.
    """
    _, label, rest = text.partition(LABEL)
    if not label:
        raise Unreadable("no label")
    fragments = rest.split("?")[:-1]
    questions = list(dict.fromkeys(f"{one_line(fragment)}?" for fragment in fragments if _is_question(fragment)))
    if not questions:
        raise Unreadable("no question")
    return questions


def _is_question(fragment: str) -> bool:
    """Whether a fragment holds words, and neither a role marker nor the label of another answer."""
    has_words = any(character.isalpha() for character in fragment)
    return has_words and LABEL not in fragment and not has_speaker(fragment)


def whole_question(text: str) -> str:
    """A caption as one question, not taken apart; after the template of VQAScore (https://arxiv.org/abs/2404.01291)."""
    return f'Does this picture show "{text.rstrip(". ")}"?'
