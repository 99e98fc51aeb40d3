"""Some preference pairs of each round: both pictures, what the judge was asked about them, where the objects are.

Read this to see which pairs the report shows. Margins and the run's seed choose them, nobody's eye.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from selfportrait.report.charts import margin_chart
from selfportrait.report.form import finite, number
from selfportrait.report.reading import (
    LARGE,
    Picture,
    Round,
    RunRecord,
    masked_picture,
    picture,
    read_table,
    shown_rounds,
)
from selfportrait.report.wording import Piece, compared
from selfportrait.seeds import derive

__all__ = ["Answered", "Asked", "Example", "PairsOfRound", "Side", "example_pairs", "margins"]

RANDOM_SHOWN = 3  # beside the pairs with the widest, the median and the narrowest margin
QUESTIONS_SHOWN = 12  # of one pair
COLUMNS = ["prompt_id", "prompt", "rejected_prompt", "chosen_id", "rejected_id", "chosen_score", "rejected_score"]

Row = dict[str, Any]


class Answered(NamedTuple):
    """What the judge answered: the probabilities of yes and no where it gave them, and the likelier one as a word."""

    p_yes: float | None
    p_no: float | None
    word: str


@dataclass(frozen=True)
class Asked:
    """One question about both pictures; `expected` is the answer of a faithful one, None an answer that is missing."""

    text: str
    expected: str
    chosen: Answered | None
    rejected: Answered | None

    @property
    def is_decisive(self) -> bool:
        """Whether only the chosen picture got the answer of a faithful one."""
        if self.chosen is None or self.rejected is None:
            return False
        return self.chosen.word == self.expected != self.rejected.word


@dataclass(frozen=True)
class Side:
    """The chosen or the rejected picture; `masked` is None without a mask, `drawn_from` where it is the pair's text."""

    name: str
    picture: Picture
    masked: Picture | None
    objects: list[str]
    alt: str
    score: float | None
    drawn_from: str | None


@dataclass(frozen=True)
class Example:
    """One pair, and why it is shown; `perturbed` is empty where both pictures are of the same prompt."""

    why: str
    prompt: list[Piece]
    perturbed: list[Piece]
    margin: float | None
    sides: list[Side]
    asked: list[Asked]
    num_unasked: int


@dataclass(frozen=True)
class PairsOfRound:
    """A round's pairs in numbers, and some of them."""

    name: str
    folder: str
    num_pairs: int
    num_prompts: int
    examples: list[Example]

    @property
    def num_pictures(self) -> int:
        """How many pictures of this round are on the page, each mask on its own copy."""
        sides = [side for example in self.examples for side in example.sides]
        return len(sides) + sum(side.masked is not None for side in sides)

    @property
    def has_masks(self) -> bool:
        """Whether any of them has a mask."""
        return any(side.masked is not None for example in self.examples for side in example.sides)


def example_pairs(run: RunRecord) -> list[PairsOfRound]:
    """Of each round that has pairs those of the widest, the median and the narrowest margin, and some at random."""
    if not run.is_in_rounds:
        return []
    found = [(one, read_table(one.folder / "preferences", [*COLUMNS, "margin"])) for one in shown_rounds(run)]
    return [_of_round(one, rows, run.seed or 0) for one, rows in found if rows]


def margins(run: RunRecord) -> Markup | None:
    """How the margins of each round are spread; None where there is no pair yet."""
    tables = [(one.name, read_table(one.folder / "preferences", ["margin"])) for one in shown_rounds(run)]
    known = [(name, [value for row in rows if (value := finite(row["margin"])) is not None]) for name, rows in tables]
    lines = [(name, values) for name, values in known if values]
    if not lines:
        return None
    middles = [f"{name} {number(sorted(values)[len(values) // 2])}" for name, values in lines]
    return margin_chart("margins", lines, f"Spread of the margins; median {', '.join(middles)}.")


def _of_round(one: Round, rows: list[Row], seed: int) -> PairsOfRound:
    chosen = choose(rows, random.Random(derive(seed, one.index, "report", "pairs")))
    ids = [row[key] for _, row in chosen for key in ("chosen_id", "rejected_id")]
    tables = _Tables(
        _by_id(one, "candidates", "id", ["prompt", "image"], ids),
        _by_id(one, "scores", "candidate_id", ["details"], ids),
        _by_id(one, "masks", "candidate_id", ["height", "width", "mask", "objects"], ids),
        _short_versions(one, [row["rejected_prompt"] for _, row in chosen if row["rejected_prompt"]]),
    )
    examples = [_example(why, row, tables) for why, row in chosen]
    return PairsOfRound(one.name, one.folder.name, len(rows), len({row["prompt_id"] for row in rows}), examples)


def choose(rows: Sequence[Row], chance: random.Random) -> list[tuple[str, Row]]:
    """Pick pairs with the reason why; the random ones are of prompts not shown yet, as far as there are any."""
    order = sorted(range(len(rows)), key=lambda place: -(finite(rows[place]["margin"]) or 0.0))
    places = {order[0]: "widest margin"}
    places.setdefault(order[len(order) // 2], "median margin")
    places.setdefault(order[-1], "narrowest margin")
    rest = [place for place in range(len(rows)) if place not in places]
    chance.shuffle(rest)
    seen = {rows[place]["prompt_id"] for place in places}
    for place in sorted(rest, key=lambda place: rows[place]["prompt_id"] in seen)[:RANDOM_SHOWN]:
        places[place] = "at random"
    return [(why, rows[place]) for place, why in places.items()]


class _Tables(NamedTuple):
    """Rows of the candidates on the page, by candidate id."""

    candidates: dict[str, Row]
    scores: dict[str, Row]
    masks: dict[str, Row]
    short: dict[str, str]


def _short_versions(one: Round, texts: list[str]) -> dict[str, str]:
    """The perturbed prompt that a detailed one was written for, by the detailed text."""
    rows = read_table(one.folder / "prompts", ["text", "parent", "role"], only=("text", texts))
    parents = {row["text"]: row["parent"] for row in rows if (row["role"] or "").startswith("dense-perturbed")}
    short = {row["id"]: row["text"] for row in _by_id(one, "prompts", "id", ["text"], list(parents.values())).values()}
    return {text: short[parent] for text, parent in parents.items() if parent in short}


def _by_id(one: Round, table: str, key: str, columns: list[str], ids: list[str]) -> dict[str, Row]:
    return {row[key]: row for row in read_table(one.folder / table, [key, *columns], only=(key, ids))}


def _example(why: str, row: Row, tables: _Tables) -> Example:
    drawn_from = row["rejected_prompt"] or ""
    rejected_prompt = tables.short.get(drawn_from, drawn_from)
    prompt, perturbed = compared(row["prompt"] or "", rejected_prompt)
    asked = _questions(*(tables.scores.get(row[key], {}) for key in ("chosen_id", "rejected_id")))
    return Example(
        why=why,
        prompt=prompt,
        perturbed=perturbed,
        margin=finite(row["margin"]),
        sides=[
            _side("chosen", row, row["prompt"], tables),
            _side("rejected", row, rejected_prompt or row["prompt"], tables),
        ],
        asked=asked[:QUESTIONS_SHOWN],
        num_unasked=len(asked[QUESTIONS_SHOWN:]),
    )


def _side(name: str, row: Row, shown: str, tables: _Tables) -> Side:
    """One picture; `shown` is the text that stands beside it, and what it was drawn from may be longer."""
    candidate_id = row[f"{name}_id"]
    candidate, mask = tables.candidates.get(candidate_id, {}), tables.masks.get(candidate_id)
    drawn_from = candidate.get("prompt")
    cell = candidate.get("image")
    return Side(
        name=name,
        picture=picture(cell, LARGE),
        masked=None if mask is None else masked_picture(cell, _grid(mask)),
        objects=[] if mask is None else list(mask["objects"] or []),
        alt=f"{name.capitalize()} picture for: {shown}",
        score=finite(row[f"{name}_score"]),
        drawn_from=None if drawn_from in (None, shown) else drawn_from,
    )


def _grid(row: Row) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(row["mask"], dtype=np.float64).reshape(row["height"], row["width"])


def _questions(chosen: Row, rejected: Row) -> list[Asked]:
    """The questions that either picture was asked, in their order."""
    sides = [{one["text"]: one for one in _details(row).get("questions") or []} for row in (chosen, rejected)]
    known = sides[1] | sides[0]
    return [
        Asked(
            text, _word(known[text].get("expected", True)), _answered(sides[0].get(text)), _answered(sides[1].get(text))
        )
        for text in dict.fromkeys([*sides[0], *sides[1]])
    ]


def _details(row: Row) -> Mapping[str, Any]:
    found = json.loads(row.get("details") or "{}")
    return found if isinstance(found, dict) else {}


def _answered(question: Mapping[str, Any] | None) -> Answered | None:
    if question is None:
        return None
    return Answered(finite(question.get("p_yes")), finite(question.get("p_no")), _word(bool(question.get("yes"))))


def _word(is_yes: bool) -> str:
    return "yes" if is_yes else "no"
