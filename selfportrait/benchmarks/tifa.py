"""TIFA v1.0 (https://arxiv.org/abs/2303.11897): questions with choices about what a caption says.

Read this to see how an answer becomes one of the choices.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _files, _layouts, _parts
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks._sentences import Sentences
from selfportrait.benchmarks.base import OVERALL, Row
from selfportrait.measures import Entry, Metric
from selfportrait.types import Prompt, Score

__all__ = ["Tifa"]

SOURCE = "https://github.com/Yushi-Hu/tifa (tifa_v1.0/tifa_v1.0_question_answers.json, Apache-2.0)"
FILES = ("tifa_v1.0_question_answers.json", "tifa_v1.0/tifa_v1.0_question_answers.json")
KEYS = ("id", "caption", "question", "choices", "answer", "element_type")
YES_NO = {"yes", "no"}


class _Answered(NamedTuple):
    """What came of a question: what was said, the choice that is taken for, and the probability of the right one."""

    said: str
    choice: str
    p_right: float | None


class Tifa:
    """4,081 captions, one picture each; a picture's score is the share of its questions answered right.

    `path` is the published tifa_v1.0_question_answers.json or its folder. `vqa` answers: with a method
    `reply(images, questions)` in words, of which one that is no choice becomes the choice nearest to it by `sentences`;
    with `answer(images, questions)` alone, which only says yes or no, every choice is asked for by "{question}
    {choice}?" and the likeliest is taken (`choices=yes_no` in the protocol). TIFA is the mean over captions; the
    element types are over questions. With `soft` a question is worth the probability of its right answer, as in
    Soft-TIFA (https://arxiv.org/abs/2512.16853), for judges that give one. A picture's score is the arithmetic `mean`
    of its questions' worths, or the geometric one (Soft-TIFA's GM), which is 0 where one of them is: how far all of the
    caption is there at once, and without `soft` whether it is.
    Pictures are seeded 42. Source: tifascore of https://github.com/Yushi-Hu/tifa.
    """

    metric: ClassVar[Metric] = Metric("share of questions answered right", "mean over prompts", 100)

    def __init__(
        self,
        *,
        path: str | None = None,
        vqa: str | dict[str, Any] = "blip_vqa",
        sentences: str = "sentence-transformers/all-mpnet-base-v2",
        soft: bool = False,
        mean: Literal["arithmetic", "geometric"] = "arithmetic",
        images_per_prompt: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        own = list(_prompts(_files.locate(path, FILES, SOURCE)))
        self._set = _parts.PromptSet(own, images_per_prompt)
        self._vqa = _parts.ByName("judges", vqa, ask="questions")
        self._sentences, self.soft, self.mean = Sentences(sentences), soft, mean

    def prompts(self) -> list[Prompt]:
        """The captions, in the file's order; `spec` holds their questions, the category is their source."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the judge."""
        _parts.build([self._vqa])

    def protocol(self, category: str) -> str:
        """The published numbers are mPLUG's; name whose answers yours are."""
        how = "" if hasattr(self._vqa.built, "reply") else ",choices=yes_no"
        of_all = ",mean=geometric" if self.mean == "geometric" else ""
        return f"approx:{self._vqa.name}{how}" + (",soft" if self.soft else "") + of_all

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        flat = one_by_one(prompts, images)
        asked = [prompt.spec["questions"] for prompt, _, _ in flat]
        answer = self._in_words if hasattr(self._vqa.built, "reply") else self._by_yes_and_no
        found = answer([image for _, _, image in flat], asked)
        return [
            _parts.row(prompt, index, self._score(prompt.spec["questions"], several))
            for (prompt, index, _), several in zip(flat, found, strict=True)
        ]

    def _score(self, questions: Sequence[Mapping[str, Any]], found: Sequence[_Answered | None]) -> Score:
        kept = []
        for question, one in zip(questions, found, strict=True):
            if one is None or (self.soft and one.p_right is None):
                return Score(None, f"no {'probability for' if one else 'answer to'} {question['question']!r}")
            right = one.choice == question["answer"]
            kept.append(
                {
                    "type": question["element_type"], "question": question["question"], "said": one.said,
                    "choice": one.choice, "answer": question["answer"], "right": right,
                    "worth": one.p_right if self.soft else float(right),
                }
            )  # fmt: skip
        worths = [one["worth"] for one in kept]
        value = math.prod(worths) ** (1 / len(worths)) if self.mean == "geometric" else float(np.mean(worths))
        return Score(value, None, {"questions": kept})

    def _in_words(self, images: Sequence[Image.Image], asked: Sequence[Sequence[Any]]) -> list[list[_Answered | None]]:
        """Take an answer as it stands where it is a choice, else the choice nearest to it."""
        replies = self._vqa.built.reply(images, [[one["question"] for one in several] for several in asked])
        return [
            [self._matched(one, said) for one, said in zip(several, found, strict=True)]
            for several, found in zip(asked, replies, strict=True)
        ]

    def _matched(self, question: Mapping[str, Any], said: str | None) -> _Answered | None:
        if said is None:
            return None
        choices = question["choices"]
        return _Answered(said, said if said in choices else self._sentences.nearest(said, choices), None)

    def _by_yes_and_no(
        self, images: Sequence[Image.Image], asked: Sequence[Sequence[Any]]
    ) -> list[list[_Answered | None]]:
        """Ask once for yes or no, and for each of other choices."""
        texts = [[text for one in several for text in _yes_no_questions(one)] for several in asked]
        found = _parts.answers(self._vqa.built, images, texts)
        answered: list[list[_Answered | None]] = []
        for several, p_yes in zip(asked, found, strict=True):
            rest = iter(p_yes)
            answered.append([_likeliest(one, [next(rest) for _ in _yes_no_questions(one)]) for one in several])
        return answered

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """A picture counts in the overall number, each question in its element type."""
        for row in rows:
            yield Entry(OVERALL, row["prompt_id"], row["score"])
            for one in _parts.details_of(row).get("questions", []):
                yield Entry(one["type"], row["prompt_id"], one["worth"])

    @staticmethod
    def extras(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """The standard deviation over captions, which is published beside the mean."""
        scores = [row["score"] for row in rows if row["score"] is not None]
        return {"standard deviation": float(np.std(scores))} if scores else {}

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """images/<id>.png."""
        return _layouts.pictures(self.named(prompt)[: len(images)], images)

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """images.json: from each caption's id to its picture, as tifascore takes it; the first of several."""
        paths = {prompt.spec["item"]: self.named(prompt)[0] for prompt in prompts}
        return {"images.json": json.dumps(paths, indent=1).encode()}

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture."""
        item = prompt.spec["item"]
        names = [
            _layouts.file_name(item, f"_{index}.png" if index else ".png") for index in range(len(self._set.seeds()))
        ]
        return [f"images/{name}" for name in names]


def _yes_no_questions(question: Mapping[str, Any]) -> list[str]:
    if set(question["choices"]) <= YES_NO:
        return [question["question"]]
    return [f"{question['question']} {choice}?" for choice in question["choices"]]


def _likeliest(question: Mapping[str, Any], p_yes: Sequence[float | None]) -> _Answered | None:
    known = [p for p in p_yes if p is not None]
    if len(known) < len(p_yes):
        return None
    choices, answer = question["choices"], question["answer"]
    if set(choices) <= YES_NO:
        choice = "yes" if known[0] > 0.5 else "no"
        return _Answered(choice, choice, known[0] if answer == "yes" else 1 - known[0])
    choice = choices[int(np.argmax(known))]
    total = sum(known)
    return _Answered(choice, choice, known[choices.index(answer)] / total if total else 1 / len(known))


def _prompts(file: Path) -> Iterator[Prompt]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(_files.json_list(file)):
        where = f"entry {number}"
        if not isinstance(row, dict):
            raise ValueError(f"{file}, {where} is no JSON object: take the file as it was published")
        _files.one_of(file, where, row, KEYS)
        if row["answer"] not in row["choices"]:
            raise ValueError(f"{file}, {where}: the answer {row['answer']!r} is none of {row['choices']}")
        grouped.setdefault(row["id"], []).append(row)
    for number, (item, several) in enumerate(grouped.items()):
        questions = [{key: one[key] for key in ("question", "choices", "answer", "element_type")} for one in several]
        spec = {"row": number, "item": item, "questions": questions}
        yield Prompt(f"tifa-{item}", several[0]["caption"].strip(), item.split("_")[0], spec=spec)
