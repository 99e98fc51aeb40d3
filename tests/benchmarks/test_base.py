"""Pass@k and intervals against exact numbers, and how missing verdicts are counted."""

import itertools
import json

import numpy as np
import pytest

from selfportrait.benchmarks.base import aggregate, bootstrap_interval, compare, paired_interval, pass_at_k


def rows(category: str, *prompts: list[bool | None]) -> list[dict]:
    """Verdict rows of one category, one list a prompt."""
    return [
        {"prompt_id": f"{category}-{number}", "category": category, "exact": exact}
        for number, verdicts in enumerate(prompts)
        for exact in verdicts
    ]


T, F = True, False


@pytest.mark.parametrize(
    ("n", "c", "expected"), [(4, 0, 0.0), (4, 1, 1.0), (4, 3, 1.0), (10, 2, 0.66666667)]
)  # 1 - C(8,4)/C(10,4) = 1 - 70/210
def test_pass_at_4(n: int, c: int, expected: float) -> None:
    assert pass_at_k(n, c, 4) == pytest.approx(expected, abs=1e-8)


def test_pass_at_k_is_the_mean_over_all_choices() -> None:
    verdicts = [1, 1, 0, 0, 0, 0, 0]
    choices = list(itertools.combinations(verdicts, 3))
    assert pass_at_k(7, 2, 3) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_pass_at_k_needs_k_pictures() -> None:
    with pytest.raises(ValueError, match="pass@4 needs at least 4"):
        pass_at_k(3, 1, 4)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    # 400 values of 0 and 1, half each: standard error .5 / 20 = .025, interval .5 -+ 1.96 * .025
    low, high = bootstrap_interval([0.0, 1.0] * 200)
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)
    assert bootstrap_interval([0.0, 1.0] * 200) == (low, high)
    spread = np.random.default_rng(0).random(50)
    assert bootstrap_interval(spread, seed=1) != bootstrap_interval(spread)


def test_bootstrap_of_equal_values_and_missing_ones() -> None:
    assert bootstrap_interval([0.3, np.nan, 0.3]) == pytest.approx((0.3, 0.3))
    with pytest.raises(ValueError, match="every prompt is missing"):
        bootstrap_interval([np.nan])


def test_paired_interval_sees_through_the_spread_of_prompts() -> None:
    # Every prompt gains exactly .1, however different the prompts are.
    before = np.linspace(0, 0.9, 50)
    difference, low, high = paired_interval(before, before + 0.1)
    assert (difference, low, high) == pytest.approx((0.1, 0.1, 0.1))


def test_paired_interval_leaves_out_what_one_side_misses() -> None:
    assert paired_interval([0.0, np.nan, 0.5], [0.2, 0.9, 0.7]).difference == pytest.approx(0.2)
    with pytest.raises(ValueError, match="only the same prompts"):
        paired_interval([0.0], [0.0, 1.0])


def test_aggregate_by_hand() -> None:
    # a: 3 of 8 right, prompts pass 1 and 0, so .375 and pass@4 .5. b: 4 of 4, 1. Overall: the mean of the two.
    found = aggregate(rows("a", [T, T, T, F], [F, F, F, F]) + rows("b", [T, T, T, T]))
    assert list(found) == ["a", "b", "overall"]
    assert found["a"]["accuracy"] == 0.375
    assert found["a"]["pass_at_4"] == 0.5
    assert (found["a"]["n"], found["a"]["missing"]) == (8, 0)
    assert (found["a"]["low"], found["a"]["high"]) == (0.0, 0.75)  # only one prompt or the other
    assert found["b"] == {
        "accuracy": 1.0,
        "low": 1.0,
        "high": 1.0,
        "pass_at_4": 1.0,
        "n": 4,
        "missing": 0,
        "is_score": False,
    }
    assert found["overall"]["accuracy"] == pytest.approx(0.6875)
    assert found["overall"]["pass_at_4"] == 0.75
    assert found["overall"]["n"] == 12
    assert (found["overall"]["low"], found["overall"]["high"]) == (0.5, 0.875)
    json.dumps(found, allow_nan=False)


def test_missing_verdicts_are_left_out_and_counted() -> None:
    # Of a's nine pictures two are missing: 4 of 7 right. The prompt with three judged pictures has no pass@4.
    found = aggregate(rows("a", [T, F, None, F], [T, T, T, F, None]))["a"]
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert (found["n"], found["missing"]) == (7, 2)
    assert found["pass_at_4"] == 1.0
    assert aggregate(rows("a", [T, F, T]))["a"]["pass_at_4"] is None


def test_a_prompt_without_verdict_does_not_break_the_interval() -> None:
    found = aggregate(rows("a", [None, None], [T, T], [F, F]))["a"]
    assert (found["accuracy"], found["low"], found["high"]) == (0.5, 0.0, 1.0)


def test_order_of_rows_and_other_categories_do_not_matter() -> None:
    verdicts = rows("a", *([T, F, F, T], [F, F, F, T], [T, T, F, T]) * 5)
    both = aggregate(rows("b", [T, F, F, F]) + verdicts[::-1])
    assert both["a"] == aggregate(verdicts)["a"]


def test_overall_is_narrower_than_its_categories() -> None:
    half = [[T] * 4, [F] * 4] * 20
    found = aggregate(rows("a", *half) + rows("b", *half))
    width = {name: item["high"] - item["low"] for name, item in found.items()}
    # two independent means: the standard error falls by sqrt 2
    assert width["overall"] == pytest.approx(width["a"] / 2**0.5, rel=0.12)


def test_nothing_to_summarise_is_said() -> None:
    with pytest.raises(ValueError, match="judged no picture"):
        aggregate([])
    with pytest.raises(ValueError, match="'a' has no verdict"):
        aggregate(rows("a", [None, None]))


def test_compare_pairs_prompts() -> None:
    # Prompt 0 gains .5, prompt 1 gains .5; b falls by 1: overall (.5 - 1) / 2.
    before = rows("a", [T, F, F, F], [F, F, T, T]) + rows("b", [T])
    after = rows("a", [T, T, T, F], [T, T, T, T]) + rows("b", [F])
    found = compare(before, after)
    assert found["a"] == pytest.approx((0.5, 0.5, 0.5))
    assert found["b"] == pytest.approx((-1.0, -1.0, -1.0))
    assert found["overall"] == pytest.approx((-0.25, -0.25, -0.25))
    summaries = [aggregate(side) for side in (before, after)]
    for name in found:
        gain = summaries[1][name]["accuracy"] - summaries[0][name]["accuracy"]
        assert found[name].difference == pytest.approx(gain)


def test_compare_needs_the_same_prompts() -> None:
    with pytest.raises(ValueError, match="only the same prompts"):
        compare(rows("a", [T]), rows("a", [T], [F]))


def scored(category, *prompts):
    return [
        {"prompt_id": f"{category}{number}", "category": category, "exact": None, "score": score}
        for number, scores in enumerate(prompts)
        for score in scores
    ]


def test_where_there_are_only_scores_their_mean_is_summed_up() -> None:
    # a: (.2 + .4 + .9) / 3 with one missing; no pass@4, since nothing is right or wrong.
    found = aggregate(scored("a", [0.2, 0.4], [0.9, None]))["a"]
    assert found["accuracy"] == pytest.approx(0.5)
    assert (found["low"], found["high"]) == pytest.approx((0.3, 0.9))
    assert (found["n"], found["missing"], found["pass_at_4"], found["is_score"]) == (3, 1, None, True)
    both = aggregate(scored("a", [0.2, 0.4]) + rows("b", [T, F]))
    assert [both[name]["is_score"] for name in ("a", "b", "overall")] == [True, False, True]
    assert aggregate(scored("a", [0.2, 0.4, 0.6, 0.8]))["a"]["pass_at_4"] is None
    assert compare(scored("a", [0.2, 0.4]), scored("a", [0.9, 0.9]))["a"].difference == pytest.approx(0.6)


def test_what_is_right_or_wrong_counts_as_that_whatever_its_score() -> None:
    verdicts = [{**row, "score": 0.3} for row in rows("a", [T, F, F, F])]
    assert aggregate(verdicts) == aggregate(rows("a", [T, F, F, F]))
