"""The best against the worst of a prompt, and the prompts that have no pair."""

import pytest

from selfportrait.selection.base import Judged
from selfportrait.selection.best_worst import best_worst
from selfportrait.types import Pair, Score


def judged(prompt: str, *scores: float | None) -> list[Judged]:
    return [
        Judged(prompt, f"{prompt}-{index}", index, Score(score, None if score is not None else "unreadable"))
        for index, score in enumerate(scores)
    ]


def test_the_best_is_chosen_and_the_worst_rejected() -> None:
    selected = best_worst(judged("a", 0.2, 0.9, -0.4, 0.3) + judged("b", 1.0, 0.0), 0)
    assert selected.pairs == [Pair("a", "a-1", "a-2", 0.9, -0.4), Pair("b", "b-0", "b-1", 1.0, 0.0)]
    assert selected.pairs[0].margin == pytest.approx(1.3)
    assert selected.dropped == {}
    assert selected.num_missing == 0


def test_a_missing_score_is_neither_the_worst_nor_counted_as_one() -> None:
    selected = best_worst(judged("a", None, 0.9, 0.2, None) + judged("b", None, 0.5) + judged("c", None, None), 0)
    assert selected.pairs == [Pair("a", "a-1", "a-2", 0.9, 0.2)]
    assert selected.dropped == {"too few scores": 2}
    assert selected.num_missing == 5


def test_ties_are_refused_also_up_to_rounding() -> None:
    selected = best_worst(judged("a", 0.5, 0.5) + judged("b", 0.3, 0.1 + 0.2), 0)
    assert selected.pairs == []
    assert selected.dropped == {"tie": 2}


def test_the_least_margin_is_enough() -> None:
    candidates = judged("a", 0.75, 0.5) + judged("b", 0.7, 0.5) + judged("c", 0.5, 0.5)
    selected = best_worst(candidates, 0, min_margin=0.25)
    assert [pair.prompt_id for pair in selected.pairs] == ["a"]
    assert selected.dropped == {"small margin": 1, "tie": 1}


def test_equal_scores_are_ranked_by_index_whatever_the_order_of_rows() -> None:
    candidates = judged("a", 0.9, 0.1, 0.9, 0.1)
    expected = [Pair("a", "a-0", "a-3", 0.9, 0.1)]
    assert best_worst(candidates, 0).pairs == expected
    assert best_worst(candidates[::-1], 1).pairs == expected
