"""T2I-CompBench++ by a vision-language model: a description of the picture first, then a grade by given criteria.

Read this for the wordings and what a grade is worth. They are those of MLLM_eval/ in
https://github.com/Karine-Huang/T2I-CompBench (MIT), with its runs of blanks made one.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from selfportrait.asking.base import one_line
from selfportrait.asking.phrases import ARTICLES, NUMBERS, head
from selfportrait.asking.pictures import UNPARSABLE, Reply, Request, ask
from selfportrait.asking.verdicts import grade
from selfportrait.benchmarks._parts import ByName
from selfportrait.types import Score

__all__ = ["ATTRIBUTES", "Mllm", "description", "questions", "worth"]

ATTRIBUTES = ("color", "shape", "texture")
WORTH_OF_ATTRIBUTE = {1: 0.10, 2: 0.20, 3: 0.75, 4: 1.0}
WORTH = {1: 0.2, 2: 0.4, 3: 0.6, 4: 0.8, 5: 1.0}
_TOKENS = 512  # of a description in 50 words, or a grade with its explanation

_ASSISTANT = "You are my assistant to "
_LAYOUT = "identify objects and their spatial layout in the image."
_ROLES = {
    **{name: f"identify any objects and their {name} in the image." for name in ATTRIBUTES},
    "spatial": _LAYOUT,
    "3d_spatial": _LAYOUT,
    "non_spatial": "identify the actions, events, objects and their relationships in the image.",
    "numeracy": "identify objects and their quantities in the image.",
    "complex": "evaluate the correspondence of the image to a given text prompt.",
}
_BRIEFLY = {
    **dict.fromkeys(ATTRIBUTES, "Briefly describe what it is in the image within 50 words."),
    **dict.fromkeys(("spatial", "3d_spatial", "non_spatial"), "Briefly describe the image within 50 words."),
    "numeracy": "Briefly describe the image within 50 words, focus on the objects in the image and their quantity.",
    "complex": (
        "Briefly describe the image within 50 words, focus on the objects in the image and their attributes (such as "
        "color, shape, texture), spatial layout and action relationships."
    ),
}
_OF_LAYOUT = (
    "5: correct spatial layout in the image for all objects mentioned in the text.",
    "4: basically, spatial layout of objects matches the text.",
    "3: spatial layout not aligned properly with the text.",
    "2: image not aligned properly with the text.",
    "1: image almost irrelevant to the text.",
)
_CRITERIA = {
    "spatial": _OF_LAYOUT,
    "3d_spatial": _OF_LAYOUT,
    "numeracy": (
        "5: correct numerical content in the image for all objects mentioned in the text.",
        "4: basically, numerical content of objects matches the text.",
        "3: numerical content not aligned properly with the text.",
        *_OF_LAYOUT[3:],
    ),
    "non_spatial": (
        "5: the image accurately portrayed the actions, events and relationships between objects described in the "
        "text.",
        "4: the image portrayed most of the actions, events and relationships but with minor discrepancies.",
        "3: the image depicted some elements, but action relationships between objects are not correct.",
        "2: the image failed to convey the full scope of the text.",
        "1: the image did not depict any actions or events that match the text.",
    ),
    "complex": (
        "5: the image perfectly matches the content of the text prompt, with no discrepancies.",
        "4: the image portrayed most of the actions, events and relationships but with minor discrepancies.",
        "3: the image depicted some elements in the text prompt, but ignored some key parts or details.",
        "2: the image did not depict any actions or events that match the text.",
        "1: the image failed to convey the full scope in the text prompt.",
    ),
}
_ANSWER = (
    "Provide your analysis and explanation in JSON format with the following keys: score (e.g., {example}), "
    "explanation (within 20 words)."
)


def description(category: str) -> str:
    """The first turn."""
    return f"{_ASSISTANT}{_ROLES[category]} {_BRIEFLY[category]}"


def questions(category: str, text: str, chunks: Sequence[str]) -> list[str]:
    """The second turn: a question for each noun chunk of attributes, else one about the whole prompt."""
    if category in ATTRIBUTES:
        return [_of_chunk(chunk) for chunk in chunks]
    portrayed = (
        f'how well the image aligns with the text prompt: "{one_line(text)}".'
        if category in ("numeracy", "complex")
        else f'if the text "{one_line(text)}" is correctly portrayed in the image.'
    )
    return [_question(portrayed, 5, _CRITERIA[category])]


def _of_chunk(chunk: str) -> str:
    noun = head(chunk)
    words = chunk.split()
    kind = " ".join(word for word in words[words[0] in ARTICLES + NUMBERS :] if word != noun)
    criteria = (
        f"4: there is {noun} in the image, and the {noun} is {kind}.",
        f"3: there is {noun} in the image, {noun} is mostly {kind}.",
        f"2: there is {noun} in the image, but {noun} is not {kind}.",
        f"1: no {noun} in the image.",
    )
    return _question(f"if there is {chunk} in the image.", 4, criteria)


def _question(asked: str, best: int, criteria: Sequence[str]) -> str:
    opening = f"According to the image and your previous answer, evaluate {asked}"
    scale = f"Give a score from 1 to {best}, according the criteria:"
    return "\n".join([opening, scale, *criteria, _ANSWER.format(example=1 if best == 4 else 2)])


def worth(category: str, grades: Sequence[int]) -> float:
    """The product of what the grades are worth; raises KeyError for a grade outside the scale."""
    table = WORTH_OF_ATTRIBUTE if category in ATTRIBUTES else WORTH
    return math.prod(table[one] for one in grades)


class Mllm:
    """Grades pictures by `vlm`, which is first asked to describe each, and then shown what it said.

    Without `describes` there is one turn, as in the source's script for GPT-4V; of that `official_quirks` keeps its
    mistake, a condition that is always true: beside the attributes, every category is graded by the spatial layout.
    Differs from the source: both turns are one message, since `vlm` takes one; a reply that cannot be read makes the
    score missing, where the source counts full marks.
    """

    def __init__(self, vlm: ByName, *, describes: bool, official_quirks: bool) -> None:
        self.part, self.describes = vlm, describes
        self.has_mistake = official_quirks and not describes

    @property
    def name(self) -> str:
        """What judges: a local model is called by its folder, one on a server by its name there."""
        model = getattr(self.part.built, "model", None) or getattr(self.part.built, "path", None) or self.part.name
        return f"mllm={Path(str(model)).name}"

    @staticmethod
    def by_name(named: str | dict[str, object]) -> ByName:
        """The model, with room for what it is asked to say."""
        return ByName("vlms", named, max_new_tokens=_TOKENS, max_tokens=_TOKENS)

    def __call__(
        self, category: str, texts: Sequence[str], images: Sequence[Image.Image], chunks: Sequence[Sequence[str]]
    ) -> list[Score]:
        """One score a picture, in [0, 1]; description and grades are in the details."""
        graded_as = "spatial" if self.has_mistake and category not in ATTRIBUTES else category
        opening = description(graded_as) if self.describes else f"{_ASSISTANT}{_ROLES[graded_as]}"
        described = self._ask([(image, opening) for image in images]) if self.describes else [Reply("")] * len(images)
        asked = [questions(graded_as, *one) for one in zip(texts, chunks, strict=True)]
        requests: list[Request] = [
            (image, _turns(opening, said.text, question) if self.describes else f"{opening}\n{_alone(question)}")
            for image, said, several in zip(images, described, asked, strict=True)
            for question in several
            if said.text is not None
        ]
        replies = iter(self._ask(requests))
        return [
            _score(graded_as, said, [next(replies) for _ in several] if said.text is not None else [])
            for said, several in zip(described, asked, strict=True)
        ]

    def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        return ask(self.part.built, requests) if requests else []


def _turns(opening: str, said: str | None, question: str) -> str:
    return f"{opening}\n\nYour previous answer: {said}\n\n{question}"


def _alone(question: str) -> str:
    """A question where there was no answer before."""
    return question.replace(" and your previous answer", "", 1)


def _score(category: str, said: Reply, replies: Sequence[Reply]) -> Score:
    details = {"description": said.text, "replies": [reply.text for reply in replies]}
    if said.text is None:
        return Score(None, said.reason, details)
    if not replies:
        return Score(None, "no noun phrase to ask about", details)
    grades = [grade(reply.text, reply.reason) for reply in replies]
    values = [one.value for one in grades if one.value is not None]
    if len(values) < len(grades):
        return Score(None, next(one.reason for one in grades if one.value is None), details)
    try:
        return Score(worth(category, values), None, {**details, "grades": values})
    except KeyError as error:
        return Score(None, f"{UNPARSABLE}: {error} is no grade from 1 to {len(WORTH_OF_ATTRIBUTE)}", details)
