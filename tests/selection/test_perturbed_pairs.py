"""OSPO's filter and choice by hand, question by question, and its ablation."""

import pytest

from selfportrait.selection.base import Judged
from selfportrait.selection.perturbed_pairs import perturbed_pairs
from selfportrait.types import Pair, Score

YES, NO = (0.9, 0.8), (0.9, -0.7)  # answers to two questions


def slot(prompt: str, index: int, chosen: tuple[float, ...], rejected: tuple[float, ...]) -> list[Judged]:
    """A candidate and its hard negative, each scored with the mean of its answers."""
    return [
        Judged(prompt, f"{prompt}{index}", index, Score(sum(chosen) / len(chosen)), False, chosen),
        Judged(prompt, f"{prompt}{index}-", index, Score(sum(rejected) / len(rejected)), True, rejected),
    ]


def indices(selected) -> list[str]:
    return [pair.chosen_id for pair in selected.pairs]


def test_the_highest_score_that_survives_the_filter() -> None:
    # Index 0 has the best candidate, .95, but its hard negative shows everything; of .7 and .85 the latter is left.
    judged = slot("a", 0, (0.9, 1.0), YES) + slot("a", 1, (0.6, 0.8), NO) + slot("a", 2, YES, NO)
    selected = perturbed_pairs(judged, 0)
    assert selected.pairs == [Pair("a", "a2", "a2-", pytest.approx(0.85), pytest.approx(0.1))]
    assert selected.dropped == {}


def test_only_equal_indices_are_paired() -> None:
    # The candidate of index 0 is right and the hard negative of index 1 is wrong: together they would be a pair.
    judged = slot("a", 0, YES, YES) + slot("a", 1, NO, NO)
    assert perturbed_pairs(judged, 0).dropped == {"no hard negative is wrong": 1}


@pytest.mark.parametrize(
    ("chosen", "kept"), [((0.6,), True), ((0.599,), False), ((0.9, 0.3), True), ((1.0, 1.0, -0.3), False)]
)
def test_the_least_score_is_enough(chosen: tuple[float, ...], kept: bool) -> None:
    # means .6, .599, .6 and .5667
    selected = perturbed_pairs(slot("a", 0, chosen, NO), 0)
    assert bool(selected.pairs) is kept
    assert selected.dropped == ({} if kept else {"no candidate is right": 1})


def test_a_candidate_with_no_yes_is_discarded_whatever_is_asked_of_its_score() -> None:
    assert perturbed_pairs(slot("a", 0, (-0.1, 0.0), NO), 0, min_score=-1.0).dropped == {"no candidate is right": 1}
    assert perturbed_pairs(slot("a", 0, (-0.1, 0.1), NO), 0, min_score=-1.0).pairs


def test_a_tie_makes_a_hard_negative_wrong() -> None:
    assert perturbed_pairs(slot("a", 0, YES, (1.0, 0.0)), 0).pairs
    assert not perturbed_pairs(slot("a", 0, YES, (1.0, 1e-6)), 0).pairs


def test_the_scores_of_a_pair_are_not_compared() -> None:
    # the hard negative misses one question of four and is surer of the others
    (pair,) = perturbed_pairs(slot("a", 0, (0.6,) * 4, (1.0, 1.0, 1.0, -0.1)), 0).pairs
    assert pair.margin == pytest.approx(0.6 - 2.9 / 4)


def test_equal_scores_take_the_lowest_index_whatever_the_order_of_rows() -> None:
    judged = slot("a", 0, YES, YES) + slot("a", 1, YES, NO) + slot("a", 2, YES, NO)
    assert indices(perturbed_pairs(judged, 0)) == indices(perturbed_pairs(judged[::-1], 0)) == ["a1"]


def test_several_slots_of_a_prompt_best_first() -> None:
    judged = slot("a", 0, (0.6, 0.8), NO) + slot("a", 1, NO, NO) + slot("a", 2, YES, NO)
    assert indices(perturbed_pairs(judged, 0, pairs_per_prompt=3)) == ["a2", "a0"]
    assert indices(perturbed_pairs(judged, 0, pairs_per_prompt=1)) == ["a2"]
    unfiltered = perturbed_pairs(judged, 0, choice="random", pairs_per_prompt=2)
    assert len(set(indices(unfiltered))) == 2
    assert len(perturbed_pairs(judged, 0, choice="random", pairs_per_prompt=9).pairs) == 3


def test_missing_scores_are_left_out_and_counted() -> None:
    whole = slot("a", 0, YES, NO)
    missing = Judged("a", "a1", 1, Score(None, "unreadable")), slot("a", 1, YES, NO)[1]
    assert indices(perturbed_pairs([*whole, *missing], 0)) == ["a0"]
    assert perturbed_pairs(missing, 0) == ([], {"missing scores": 1}, 1)


def test_answers_are_needed() -> None:
    judged = [Judged("a", "x", 0, Score(0.9)), Judged("a", "y", 0, Score(0.1), True)]
    with pytest.raises(ValueError, match="x has a score but no answers"):
        perturbed_pairs(judged, 0)
    assert perturbed_pairs(judged, 0, choice="random").pairs == [Pair("a", "x", "y", 0.9, 0.1)]


def test_random_takes_any_index_unfiltered_keyed_by_seed_and_prompt() -> None:
    prompts = [f"p{number:03}" for number in range(300)]
    judged = [row for prompt in prompts for index in range(3) for row in slot(f"{prompt}/", index, NO, YES)]
    first = perturbed_pairs(judged, 0, choice="random")
    assert len(first.pairs) == 300
    assert first.dropped == {}
    counts = [sum(pair.chosen_id.endswith(f"/{index}") for pair in first.pairs) for index in range(3)]
    assert min(counts) > 75  # 100 expected, standard deviation 8
    assert first == perturbed_pairs(judged[::-1], 0, choice="random")
    assert first != perturbed_pairs(judged, 1, choice="random")
    half = perturbed_pairs(judged[:900], 0, choice="random")
    assert half.pairs == first.pairs[:150]  # whatever other prompts there are
