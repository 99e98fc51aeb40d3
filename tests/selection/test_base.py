"""Diagnosing pairs: ambiguous ones, and ones whose chosen candidate is wrong."""

from selfportrait.selection.base import PairQuality, pair_quality
from selfportrait.types import Pair

PAIRS = [
    Pair("p", "right", "x", 0.9, 0.1),
    Pair("p", "wrong", "x", 0.9, 0.5),
    Pair("p", "unknown", "x", 0.5, 0.45),
    Pair("p", "right", "x", 0.5, 0.5),
    Pair("p", "right", "x", 0.6, 0.8),
]


def test_counts_by_hand() -> None:
    # margins .8, .4, .05, 0 and -.2: below .1 are the last three; checked are all but "unknown"
    verdicts = {"right": True, "wrong": False, "unknown": None}
    assert pair_quality(PAIRS, min_margin=0.1, is_right=verdicts) == PairQuality(5, 3, 4, 1)


def test_a_tie_is_ambiguous_without_a_least_margin() -> None:
    assert pair_quality(PAIRS, min_margin=0.0).num_ambiguous == 2


def test_without_an_exact_judge_nothing_is_false() -> None:
    assert pair_quality(PAIRS, min_margin=0.0)[2:] == (0, 0)
    assert pair_quality([], min_margin=0.1) == (0, 0, 0, 0)
