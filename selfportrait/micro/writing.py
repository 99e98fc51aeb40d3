"""Examples from which the embedded token model learns to write, to ask and to answer, and what is wrong with a text.

Read this to see what it is trained on: the very requests of `selfportrait.asking`, answered exactly in the micro
language. In the compact style a request is a line without instructions and worked examples: a full one of perturbing is
some 300 words, which the embedded model's context and its training time do not have, and a model that has been trained
on a request needs neither.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from PIL import Image

from selfportrait.asking import captions, densify, perturb, questions
from selfportrait.asking.base import Style, Turn, Unreadable
from selfportrait.asking.captions import STREAMS, Caption
from selfportrait.asking.perturb import Edit
from selfportrait.asking.yes_no import put
from selfportrait.micro import rewriting
from selfportrait.micro.language import NUMBERS, Check, Claim, checks, parse, say
from selfportrait.micro.logic import read_question, settles
from selfportrait.micro.scenes import SHAPE_CATEGORIES, is_held_out, lay_out
from selfportrait.micro.scenes import claim as scene_claim
from selfportrait.micro.world import render
from selfportrait.types import Prompt

__all__ = ["TASKS", "Coverage", "Example", "Task", "caption_fault", "coverage", "examples", "stream_claim"]

Task = Literal["caption", "perturb", "densify", "questions", "answer"]
TASKS: tuple[Task, ...] = get_args(Task)
_MOST_COUNTED = 4  # what the filter of the numeracy streams lets pass
_STREAMS: dict[str, tuple[str, Callable[[Claim], bool]]] = {  # the category that a stream's claims are drawn from
    "color1": ("color", lambda claim: len(claim.phrases) == 1 and claim.background is None),
    "color2": ("color", lambda claim: len(claim.phrases) == 2),
    "shape2": ("shape", lambda claim: len(claim.phrases) == 2),
    "spatial_2d": ("spatial", lambda claim: claim.relation is not None),
    "numeracy1": ("numeracy", lambda claim: len(claim.phrases) == 1 and _is_low(claim)),
    "numeracy2": ("numeracy", lambda claim: len(claim.phrases) == 2 and _is_low(claim)),
    "complex": ("complex", lambda claim: len(claim.phrases) == 2),
}


class Example(NamedTuple):
    """A conversation, about a picture where there is one, and what the model should go on with."""

    task: Task
    conversation: tuple[Turn, ...]
    target: str
    image: Image.Image | None = None


def _is_low(claim: Claim) -> bool:
    return all(phrase.count <= _MOST_COUNTED for phrase in claim.phrases)


def stream_claim(stream: str, rng: random.Random) -> Claim:
    """Draw a claim for a stream of captions; never one whose prompt is held out for measuring."""
    if stream not in _STREAMS:
        raise ValueError(f"the micro world has nothing for the stream {stream!r}; it has {', '.join(_STREAMS)}")
    category, fits = _STREAMS[stream]
    while True:
        claim = _claim(category, rng)
        if fits(claim):
            return claim


def _claim(category: str, rng: random.Random) -> Claim:
    while True:
        claim = scene_claim(category, rng)
        if not is_held_out(say(claim)):
            return claim


def examples(task: Task, *, seed: int, style: Style = "compact") -> Iterator[Example]:
    """Yield examples of one task without end, in an order that the seed decides.

    Captions are asked for by stream, all equally often. Everything else is asked about any prompt of the training split
    that has shapes, so that it works on prompts of every source.
    """
    rng = random.Random(f"{task}-{seed}")
    make, kinds = _MAKERS[task], tuple(_STREAMS) if task == "caption" else SHAPE_CATEGORIES
    while True:
        for kind in kinds:
            example = make(kind, rng, style)
            if example is not None:
                yield example


def _caption(stream: str, rng: random.Random, style: Style) -> Example:
    claim = stream_claim(stream, rng)
    known = STREAMS[stream]
    target = Caption(say(claim), _units(claim), _tuples(claim)).answer()
    return Example("caption", tuple(captions.conversation(known, known.shots, style)), target)


def _perturbed(category: str, rng: random.Random) -> tuple[Prompt, Claim, Edit, Claim | None]:
    """A prompt with its claim, one of the edits of its slots, and the claim after it where there is one."""
    claim = _claim(category, rng)
    prompt = Prompt("", say(claim), category)
    edit = rng.choice(perturb.edits(prompt))
    return prompt, claim, edit, rewriting.perturb(claim, edit, rng)


def _perturb(category: str, rng: random.Random, style: Style) -> Example | None:
    prompt, claim, edit, changed = _perturbed(category, rng)
    if changed is None:
        return None
    shot = perturb.Shot(edit, prompt.text, _objects(claim), _tuples(claim), _tuples(changed), say(changed))
    direction = rng.choice(perturb.DIRECTIONS)
    return Example("perturb", tuple(perturb.conversation(prompt, edit, style, direction)), perturb.answer(shot, style))


def _densify(category: str, rng: random.Random, style: Style) -> Example | None:
    prompt, claim, _, changed = _perturbed(category, rng)
    if changed is None:
        return None
    pair = rewriting.densify(claim, changed, rng)
    shot = densify.Shot(
        prompt.text, say(changed), _tuples(claim), _tuples(changed), say(pair.base), say(pair.perturbed)
    )
    turns = densify.conversation(shot.base, shot.perturbed, category, style)
    return Example("densify", tuple(turns), densify.answer(shot, style))


def _questions(category: str, rng: random.Random, style: Style) -> Example:
    claim = _claim(category, rng)
    turns = questions.conversation(say(claim), category, style)
    asked = [check.text for check in checks(claim)]
    return Example("questions", tuple(turns), questions.answer(_units(claim), asked, style))


def _answer(category: str, rng: random.Random, style: Style) -> Example:
    """A question about a picture, answered with yes as often as with no, however it is worded.

    The question is a check of a claim. It is asked about a picture of that claim, or as often about one of a claim that
    settles it the other way: a perturbed version where there is one, so that the picture is only just wrong.
    """
    claim = _claim(category, rng)
    check = rng.choice(checks(claim))
    other = _contrary(claim, check, rng)
    is_yes = rng.random() < 0.5
    image = render(lay_out(claim if is_yes else other, rng))
    return Example("answer", (Turn("user", put(check.text)),), "yes" if is_yes else "no", image)


def _contrary(claim: Claim, check: Check, rng: random.Random) -> Claim:
    perturbed = [rewriting.perturb(claim, edit, rng) for edit in get_args(Edit) for _ in range(3)]
    contrary = [one for one in perturbed if one is not None and settles(one, check) is False]
    while not contrary:
        any_claim = _claim(rng.choice(SHAPE_CATEGORIES), rng)
        contrary = [any_claim] if settles(any_claim, check) is False else []
    return rng.choice(contrary)


_MAKERS: dict[Task, Callable[[str, random.Random, Style], Example | None]] = {
    "caption": _caption,
    "perturb": _perturb,
    "densify": _densify,
    "questions": _questions,
    "answer": _answer,
}


def _objects(claim: Claim) -> str:
    return ", ".join(phrase.shape for phrase in claim.phrases)


def _units(claim: Claim) -> str:
    return ", ".join(say(Claim((phrase,))) if phrase.is_counted else phrase.name for phrase in claim.phrases)


def _tuples(claim: Claim) -> str:
    """What is bound to what, as the worked examples spell it: (shape, attribute), (first, relation, second)."""
    found = []
    for phrase in claim.phrases:
        number = NUMBERS[phrase.count - 1] if phrase.is_counted else None
        words = [word for word in (number, phrase.size, phrase.colour) if word]
        found += [f"({phrase.shape}, {word})" for word in words] or [phrase.shape]
    if claim.relation:
        first, second = (phrase.shape for phrase in claim.phrases[:2])
        found.append(f"({first}, {claim.relation}, {second})")
    if claim.place:
        found.append(f"({claim.phrases[-1].shape}, {claim.place})")
    if claim.background:
        found.append(f"(background, {claim.background})")
    return ", ".join(found)


# What is wrong with a text


def caption_fault(text: str, stream: str) -> str | None:
    """What is wrong with the answer to a request for a caption, None for a good one."""
    try:
        caption = captions.read(text, STREAMS[stream]).text
        claim = parse(caption)
    except Unreadable as reason:
        return str(reason)
    except ValueError:
        return "not in the language"
    if not _STREAMS[stream][1](claim):
        return "another stream"
    return "held out" if is_held_out(say(claim)) else None


class Coverage(NamedTuple):
    """Questions against a prompt: they are good where all three lists are empty.

    `missing` are checks that none of them asks, `wrong` are questions to which a faithful picture need not say yes, and
    `unknown` are those that are not of the micro language.
    """

    missing: list[str]
    wrong: list[str]
    unknown: list[str]


def coverage(text: str, asked: Sequence[str]) -> Coverage:
    """Hold questions against the checks of a prompt of the micro language."""
    claim = parse(text)
    read = {question: read_question(question) for question in asked}
    known = {_key(check) for check in read.values() if check is not None}
    return Coverage(
        missing=[check.text for check in checks(claim) if _key(check) not in known],
        wrong=[question for question, check in read.items() if check is not None and not settles(claim, check)],
        unknown=[question for question, check in read.items() if check is None],
    )


def _key(check: Check) -> tuple[str, str | int | None, str | None, str | None]:
    subject, other = (None if kind is None else kind.name for kind in (check.subject, check.other))
    return check.kind, check.value, subject, other
