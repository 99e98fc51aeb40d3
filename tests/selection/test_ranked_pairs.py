"""The best N against the worst N: SILMM's 100 pairs of 30, their ranges, and pairs that would not be preferences."""

from selfportrait.selection.base import Judged
from selfportrait.selection.best_worst import best_worst
from selfportrait.selection.ranked_pairs import ranked_pairs
from selfportrait.types import Score


def judged(*scores: float | None) -> list[Judged]:
    return [Judged("p", str(index), index, Score(score)) for index, score in enumerate(scores)]


def ids(pairs) -> list[tuple[str, str]]:
    return [(pair.chosen_id, pair.rejected_id) for pair in pairs]


THIRTY = judged(*((-index) / 30 for index in range(30)))  # rank = index


def test_ten_by_ten_of_thirty() -> None:
    pairs = ranked_pairs(THIRTY, 0).pairs
    assert ids(pairs) == [(str(i), str(j)) for i in range(10) for j in range(20, 30)]


def test_a_harder_range_of_the_rejected() -> None:
    # ranks 14 to 24 are the last ten before the six worst
    pairs = ranked_pairs(THIRTY, 0, skip_worst=6).pairs
    assert {pair.rejected_id for pair in pairs} == {str(rank) for rank in range(14, 24)}
    assert len(pairs) == 100


def test_by_hand() -> None:
    # Ranks: 2 (.9), 0 (.7), 3 (.7), 1 (.1), 4 (.1). Two best against three worst: 3 ties with 0 and is no pair of it.
    pairs = ranked_pairs(judged(0.7, 0.1, 0.9, 0.7, 0.1), 0, num_chosen=2, num_rejected=3).pairs
    assert ids(pairs) == [("2", "3"), ("2", "1"), ("2", "4"), ("0", "1"), ("0", "4")]


def test_overlapping_ranges_make_every_ordered_pair_once() -> None:
    pairs = ranked_pairs(judged(0.1, 0.2, 0.3), 0).pairs
    assert ids(pairs) == [("2", "1"), ("2", "0"), ("1", "0")]


def test_one_by_one_is_best_against_worst() -> None:
    candidates = judged(0.3, None, 0.9, 0.9, -0.2)
    assert ranked_pairs(candidates, 0, num_chosen=1, num_rejected=1) == best_worst(candidates, 0)


def test_what_is_left_out_is_counted() -> None:
    assert ranked_pairs(judged(0.5, None), 0)[1:] == ({"too few scores": 1}, 1)
    assert ranked_pairs(judged(0.5, 0.5, 0.5), 0).dropped == {"tie": 1}
    assert ranked_pairs(judged(0.5, 0.4, 0.3), 0, skip_worst=3).dropped == {"too few scores": 1}
    assert ids(ranked_pairs(judged(0.5, 0.4, 0.1), 0).pairs) == [("0", "1"), ("0", "2"), ("1", "2")]
    assert ids(ranked_pairs(judged(0.5, 0.4, 0.1), 0, min_margin=0.35).pairs) == [("0", "2")]
    assert ranked_pairs(judged(0.5, 0.4, 0.1), 0, min_margin=0.5).dropped == {"small margin": 1}


def test_a_chosen_that_is_wrong_itself() -> None:
    assert ids(ranked_pairs(judged(0.6, 0.5, 0.1), 0, min_score=0.6).pairs) == [("0", "1"), ("0", "2")]
    assert ranked_pairs(judged(0.5, 0.4, 0.1), 0, min_score=0.6).dropped == {"no candidate is right": 1}
    assert len(ranked_pairs(judged(-1.0, 0.0), 0).pairs) == 1
