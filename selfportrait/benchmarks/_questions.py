"""Questions with dependencies, as DPG-Bench and DSG-1k publish them in one CSV schema, and what answers are worth.

Read this to see when a question counts as answered no though the judge said yes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from selfportrait import rows
from selfportrait.benchmarks import _files, _parts
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks.base import Row
from selfportrait.types import Prompt, Score

__all__ = [
    "COLUMNS",
    "Asked",
    "Item",
    "asked_of",
    "dependent",
    "details",
    "in_place",
    "items",
    "kind",
    "measure",
    "prompts_of",
]

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
YES = 0.5


class Asked(NamedTuple):
    """One question: its number, the numbers of those it depends on, 0 being none, and its category in two levels."""

    id: int
    parents: tuple[int, ...]
    category: str
    text: str


class Item(NamedTuple):
    """A prompt with its questions, in the file's order."""

    id: str
    text: str
    questions: tuple[Asked, ...]


def items(path: Path) -> list[Item]:
    """Read the CSV; a dependency that is no number is left out. Raises ValueError with the line that is wrong."""
    found: dict[str, tuple[str, list[Asked]]] = {}
    for line, row in rows.read(path, COLUMNS):
        where = f"line {line}"
        if not row.get("item_id") and not any(row.values()):
            continue
        _files.one_of(path, where, row, COLUMNS)
        text, questions = found.setdefault(row["item_id"].strip(), (row["text"].strip(), []))
        if text != row["text"].strip():
            raise ValueError(f"{path}, {where}: {row['item_id']} comes again with another text")
        questions.append(_asked(path, where, row))
    if not found:
        raise ValueError(f"{path} holds no question: take the file as it was published")
    return [Item(item, text, tuple(questions)) for item, (text, questions) in found.items()]


def _asked(path: Path, where: str, row: Mapping[str, str]) -> Asked:
    try:
        number = int(row["proposition_id"])
    except ValueError as error:
        raise ValueError(f"{path}, {where}: proposition_id is {row['proposition_id']!r}, expected a number") from error
    parents = tuple(int(part) for part in row["dependency"].split(",") if part.strip().isdigit())
    return Asked(number, parents, row["tuple"].split("(")[0].strip(), row["question_natural_language"].strip())


def kind(category: str) -> str:
    """The first level of a category such as "entity - whole"."""
    return category.split("-")[0].strip()


def in_place(answers: Mapping[int, bool], questions: Iterable[Asked]) -> dict[int, bool]:
    """DPG-Bench's rule: in the file's order, a yes below a no becomes a no, and so do those below it in turn.

    A parent that comes later counts as it was answered. Raises KeyError for a parent without a question.
    """
    kept = dict(answers)
    for one in questions:
        if not all(kept[parent] for parent in one.parents if parent != 0):
            kept[one.id] = False
    return kept


def dependent(answers: Mapping[int, bool], questions: Iterable[Asked]) -> dict[int, bool]:
    """DSG's rule: a yes below a no becomes a no, by the answers as they were given; an unknown parent says nothing."""
    return {
        one.id: answers[one.id] and all(answers.get(parent, True) for parent in one.parents if parent != 0)
        for one in questions
    }


def prompts_of(
    name: str, found: Sequence[Item], texts: Mapping[str, str], categories: Mapping[str, str]
) -> Iterator[Prompt]:
    """The items as prompts; their questions go into `spec`, numbered as in the file."""
    for number, item in enumerate(found):
        questions = [[one.id, list(one.parents), one.category, one.text] for one in item.questions]
        spec = {"row": number, "item": item.id, "questions": questions}
        yield Prompt(f"{name}-{item.id}", texts.get(item.id, item.text), categories.get(item.id, name), spec=spec)


def asked_of(prompt: Prompt) -> list[Asked]:
    """The questions of a prompt."""
    return [
        Asked(number, tuple(parents), category, text) for number, parents, category, text in prompt.spec["questions"]
    ]


Judged = tuple[dict[int, bool], dict[int, bool]]


def measure(
    judge: _parts.Answers, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]], rule: Any
) -> list[Row]:
    """Ask every question about every picture; the score is the share of yes after the rule, None with a missing one."""
    flat = one_by_one(prompts, images)
    texts = [[one.text for one in asked_of(prompt)] for prompt, _, _ in flat]
    found = _parts.answers(judge, [image for _, _, image in flat], texts)
    return [
        _parts.row(prompt, index, _score(prompt, p_yes, rule))
        for (prompt, index, _), p_yes in zip(flat, found, strict=True)
    ]


def _score(prompt: Prompt, p_yes: Sequence[float | None], rule: Any) -> Score:
    questions = asked_of(prompt)
    if not questions:
        return Score(None, "the published scorer has no question left for this prompt")
    if None in p_yes:
        return Score(None, f"no answer to {questions[list(p_yes).index(None)].text!r}")
    answers = {one.id: p > YES for one, p in zip(questions, p_yes, strict=True) if p is not None}
    try:
        kept = rule(answers, questions)
    except KeyError as error:
        return Score(None, f"the published scorer fails on a question that depends on the missing question {error}")
    score = sum(kept.values()) / len(kept)
    return Score(score, None, details(questions, answers, kept, [p for p in p_yes if p is not None]))


def details(
    questions: Sequence[Asked], answers: Mapping[int, bool], kept: Mapping[int, bool], p_yes: Sequence[float]
) -> dict[str, Any]:
    """What a row keeps of each question: its category, text, P(yes), answer, and what is left of it after the rule."""
    return {
        "questions": [
            {"category": q.category, "text": q.text, "p_yes": round(p, 6), "yes": answers[q.id], "kept": kept[q.id]}
            for q, p in zip(questions, p_yes, strict=True)
        ]
    }
