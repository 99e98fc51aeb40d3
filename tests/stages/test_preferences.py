"""Pairs from tables written by hand: who is a hard negative, what an answer is worth, and which pairs are doubted."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from selfportrait import store
from selfportrait.selection.best_worst import best_worst
from selfportrait.selection.perturbed_pairs import perturbed_pairs
from selfportrait.stages import prompt_rows, select_pairs
from selfportrait.types import Prompt, Question, Score

PROMPTS = [Prompt("p", "a cat", questions=(Question("Is there a cat?"), Question("Is there a dog?", answer=False)))]


def candidate(id: str, index: int, text: str) -> dict[str, Any]:
    row = {"id": id, "prompt_id": "p", "prompt": text, "index": index, "image": Image.new("RGB", (2, 2), (index, 0, 0))}
    return {**dict.fromkeys(store.CANDIDATES.names), **row}


def score(id: str, value: float | None, answers: Sequence[tuple[float, float]] = ()) -> dict[str, Any]:
    questions = [
        {"text": question.text, "yes": yes > no, "expected": question.answer, "p_yes": yes, "p_no": no}
        for question, (yes, no) in zip(PROMPTS[0].questions, answers, strict=False)
    ]
    details = json.dumps({"questions": questions} if answers else {})
    reason = None if value is not None else "cannot tell"
    return {"candidate_id": id, "judge": "Judge", "value": value, "reason": reason, "details": details}


def only_red_is_right(prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
    """Right where the first pixel is redder than 1, wrong where it is 1, nothing to say where it is 0, a score at 3."""
    red = [image.getpixel((0, 0))[0] for image in images]  # type: ignore[index]
    kinds = [Score(None, "unknown"), Score(0.0, None, {"exact": False}), Score(1.0, None, {"exact": True}), Score(21.7)]
    return [kinds[value] for value in red]


def select(folder: Path, selection: Any, candidates: list[Any], scores: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    tables = [folder / name for name in ("prompts", "candidates", "scores", "preferences")]
    store.write_table(tables[0], 0, prompt_rows(PROMPTS), store.PROMPTS)
    store.write_table(tables[1], 0, candidates, store.CANDIDATES)
    store.write_table(tables[2], 0, scores, store.SCORES)
    counts = select_pairs(selection, *tables, 0, 0.2, only_red_is_right)
    return store.read_table(tables[3]).to_pylist(), counts


@pytest.mark.parametrize(
    ("chosen", "margin", "quality"),
    [(0, 0.5, (0, 0, 0)), (1, 0.5, (0, 1, 1)), (2, 0.5, (0, 1, 0)), (2, 0.1, (1, 1, 0)), (3, 0.5, (0, 0, 0))],
)
def test_ambiguous_and_false_pairs_are_counted(
    tmp_path: Path, chosen: int, margin: float, quality: tuple[int, int, int]
) -> None:
    candidates = [candidate(f"c{index}", index, "a cat") for index in range(4)]
    unclear = 2 if chosen == 3 else 3
    values = [0.4 + margin * (index == chosen) for index in range(4)]
    scores = [score(f"c{index}", None if index == unclear else value) for index, value in enumerate(values)]
    pairs, counts = select(tmp_path, best_worst, candidates, scores)
    assert [(pair["chosen_id"], pair["rejected_prompt"]) for pair in pairs] == [(f"c{chosen}", None)]
    assert pairs[0]["margin"] == pytest.approx(margin)
    assert (counts["num_ambiguous"], counts["num_checked"], counts["num_false"]) == quality
    assert (counts["kept"], counts["dropped"]) == (1, {})


@pytest.mark.parametrize(
    ("hard_negative", "reason"),
    [([(0.1, 0.8), (0.1, 0.8)], None), ([(0.8, 0.1), (0.1, 0.8)], "no hard negative is wrong")],
)
def test_a_question_whose_answer_is_no_counts_the_other_way_round(
    tmp_path: Path, hard_negative: list[tuple[float, float]], reason: str | None
) -> None:
    candidates = [candidate("c", 0, "a cat in detail"), candidate("c-hard-negative", 0, "a dog in detail")]
    right = [(0.9, 0.0), (0.0, 0.9)]  # a cat, and no dog
    scores = [score("c", 0.9, right), score("c-hard-negative", 0.1, hard_negative)]
    pairs, counts = select(tmp_path, partial(perturbed_pairs, min_score=0.6), candidates, scores)
    assert counts["dropped"] == ({reason: 1} if reason else {})
    if reason is None:
        (pair,) = pairs
        assert (pair["chosen_id"], pair["rejected_id"]) == ("c", "c-hard-negative")
        assert (pair["prompt"], pair["rejected_prompt"]) == ("a cat", "a dog in detail")
