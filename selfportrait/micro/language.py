"""The micro language: the prompts of the micro world, what each one claims, and the questions that check it.

`say` writes a claim as a prompt and `parse` reads it back, so a judge needs nothing but the prompt's text.
"""

import re
from dataclasses import dataclass

from selfportrait.micro.world import BACKGROUNDS, COLOURS, SHAPES
from selfportrait.types import Question

__all__ = [
    "NUMBERS",
    "PLACES",
    "RELATIONS",
    "Check",
    "Claim",
    "Phrase",
    "checks",
    "parse",
    "plural",
    "questions",
    "say",
]

NUMBERS = ("one", "two", "three", "four", "five", "six")
RELATIONS = ("left of", "right of", "above", "below")
PLACES = ("top left", "top right", "bottom left", "bottom right", "center")
SIZES = ("small", "large")


@dataclass(frozen=True)
class Phrase:
    """Some shapes of one kind: `colour` and `size` are None where the prompt leaves them open."""

    count: int
    shape: str
    colour: str | None = None
    size: str | None = None
    is_counted: bool = False  # "one red circle" or "two red circles", not "a red circle"

    @property
    def name(self) -> str:
        """The kind in words, without its number: "small red circle"."""
        return " ".join(word for word in (self.size, self.colour, self.shape) if word)


@dataclass(frozen=True)
class Claim:
    """What a prompt says: its phrases, at most one relation between the first two, a place of the first, the rest."""

    phrases: tuple[Phrase, ...] = ()
    relation: str | None = None
    place: str | None = None
    background: str | None = None
    word: str | None = None


@dataclass(frozen=True)
class Check:
    """One thing to verify. `kind` is count, present, total, relation, place, background or word."""

    kind: str
    text: str
    subject: Phrase | None = None
    other: Phrase | None = None
    value: str | int | None = None


def plural(shape: str) -> str:
    """The word for several of a kind of shape."""
    return shape + ("es" if shape == "cross" else "s")


def _noun_phrase(phrase: Phrase) -> str:
    if not phrase.is_counted:
        article = "an" if phrase.name[0] in "aeiou" else "a"
        return f"{article} {phrase.name}"
    name = phrase.name if phrase.count == 1 else phrase.name.removesuffix(phrase.shape) + plural(phrase.shape)
    return f"{NUMBERS[phrase.count - 1]} {name}"


def say(claim: Claim) -> str:
    """Write a claim as a prompt."""
    if claim.word is not None:
        return f'the word "{claim.word.lower()}"'
    parts = [_noun_phrase(phrase) for phrase in claim.phrases]
    if claim.relation:
        text = f"{parts[0]} {claim.relation} {parts[1]}"
    else:
        text = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    if claim.place:
        text += f" in the {claim.place}" if claim.place == "center" else f" at the {claim.place}"
    if claim.background:
        text += f" on a {claim.background} background"
    return text


_SHAPE_OF = {form: shape for shape in SHAPES for form in (shape, plural(shape))}
_PHRASE = re.compile(
    rf"^(?P<number>an?|{'|'.join(NUMBERS)})(?: (?P<size>{'|'.join(SIZES)}))?(?: (?P<colour>{'|'.join(COLOURS)}))?"
    rf" (?P<shape>{'|'.join(_SHAPE_OF)})$"
)
_TAIL = re.compile(rf"^(?P<rest>.*?)(?: on a (?P<background>{'|'.join(BACKGROUNDS)}) background)?$")
_PLACE = re.compile(rf"^(?P<rest>.*?)(?: (?:at|in) the (?P<place>{'|'.join(PLACES)}))?$")
_WORD = re.compile(r'^the word "(?P<word>[a-z]+)"$')


def _parse_phrase(text: str, prompt: str) -> Phrase:
    match = _PHRASE.match(text)
    if not match:
        raise ValueError(
            f"the micro world does not know {text!r} in the prompt {prompt!r}; a phrase reads like 'a red circle' or "
            f"'three small blue stars', with the colours {', '.join(COLOURS)} and the shapes {', '.join(SHAPES)}"
        )
    number = match["number"]
    is_counted = number in NUMBERS
    count = NUMBERS.index(number) + 1 if is_counted else 1
    return Phrase(count, _SHAPE_OF[match["shape"]], match["colour"], match["size"], is_counted)


def parse(text: str) -> Claim:
    """Read a prompt of the micro language; raises ValueError that names what it does not know."""
    prompt = " ".join(text.lower().replace("“", '"').replace("”", '"').split()).rstrip(".")
    if word := _WORD.match(prompt):
        return Claim(word=word["word"])
    tail = _TAIL.match(prompt)
    assert tail, "every part of the pattern is optional"
    place = _PLACE.match(tail["rest"])
    assert place
    rest: str = place["rest"]
    relation: str | None = None
    phrases: tuple[Phrase, ...]
    for candidate in RELATIONS:
        first, found, second = rest.partition(f" {candidate} ")
        if found:
            phrases = (_parse_phrase(first, text), _parse_phrase(second, text))
            relation = candidate
            break
    else:
        phrases = tuple(_parse_phrase(part, text) for part in re.split(r", | and ", rest))
    return Claim(phrases, relation, place["place"], tail["background"])


def checks(claim: Claim) -> list[Check]:
    """The things a picture must show to be exactly right, one check each, in a fixed order."""
    if claim.word is not None:
        return [Check("word", f'Does the picture read "{claim.word}"?', value=claim.word)]
    found = [_count_check(phrase) for phrase in claim.phrases]
    if not any(phrase.is_counted for phrase in claim.phrases):
        total = sum(phrase.count for phrase in claim.phrases)
        noun = "shape" if total == 1 else "shapes"
        found.append(Check("total", f"{_is_there(total)} exactly {NUMBERS[total - 1]} {noun}?", value=total))
    if claim.relation:
        first, second = claim.phrases
        verb = "Is" if first.count == 1 else "Are"
        text = f"{verb} the {_of_kind(first)} {claim.relation} the {_of_kind(second)}?"
        found.append(Check("relation", text, first, second, claim.relation))
    if claim.place:
        where = f"{'in' if claim.place == 'center' else 'at'} the {claim.place}"
        first = claim.phrases[-1]
        text = f"{'Is' if first.count == 1 else 'Are'} the {_of_kind(first)} {where}?"
        found.append(Check("place", text, first, value=claim.place))
    if claim.background:
        found.append(Check("background", f"Is the background {claim.background}?", value=claim.background))
    return found


def questions(claim: Claim) -> tuple[Question, ...]:
    """The checks as yes/no questions; a faithful picture answers yes to each."""
    return tuple(Question(check.text) for check in checks(claim))


def _is_there(count: int) -> str:
    return "Is there" if count == 1 else "Are there"


def _of_kind(phrase: Phrase) -> str:
    return phrase.name if phrase.count == 1 else phrase.name.removesuffix(phrase.shape) + plural(phrase.shape)


def _count_check(phrase: Phrase) -> Check:
    if phrase.is_counted:
        text = f"{_is_there(phrase.count)} exactly {NUMBERS[phrase.count - 1]} {_of_kind(phrase)}?"
        return Check("count", text, phrase, value=phrase.count)
    return Check("present", f"Is there {_noun_phrase(phrase)}?", phrase, value=1)
