"""What published benchmarks come to: means, intervals and differences, by hand."""

from collections.abc import Iterator

import pytest

from selfportrait.measures import Entry, Metric, differences, entries_of_pictures, no_extras, summarise


class Tags:
    metric = Metric("share", "mean of categories")
    entries = staticmethod(entries_of_pictures)
    extras = staticmethod(no_extras)


class Captions:
    """An overall number over prompts beside categories over answers."""

    metric = Metric("share", "mean over prompts", 100)

    @staticmethod
    def entries(rows) -> Iterator[Entry]:
        for row in rows:
            yield Entry("overall", row["prompt_id"], row["score"])
            yield Entry("answers", row["prompt_id"], row["score"])

    extras = staticmethod(no_extras)


class Open:
    metric = Metric("mean score", None)
    entries = staticmethod(entries_of_pictures)
    extras = staticmethod(lambda rows: {"further": 1.0})


def rows(category, *prompts, key="score"):
    """One list of values a prompt; bools are exact, numbers are scores."""
    return [
        {"prompt_id": f"{category}{number}", "category": category, "exact": None, "score": None, key: value}
        for number, values in enumerate(prompts)
        for value in values
    ]


def judge(category: str) -> str:
    return f"approx:{category}"


def test_the_mean_of_categories_does_not_weigh_them() -> None:
    # a: 3 of 4, b: 0 of 1; the mean of the two is .375, of the pictures .6.
    found = summarise(
        Tags, rows("a", [True, True], [True, False], key="exact") + rows("b", [False], key="exact"), judge
    )
    assert found["categories"]["a"]["value"] == 0.75
    assert found["overall"]["value"] == 0.375
    assert found["overall"]["protocol"] == "approx:a approx:b"
    assert found["categories"]["a"]["pass_at"] == {"1": 0.75, "2": 1.0}
    assert found["overall"]["pass_at"] == {"1": 0.375}  # b has one picture
    assert (found["categories"]["a"]["low"], found["categories"]["a"]["high"]) == (0.5, 1.0)


def test_the_mean_over_prompts_does_not_weigh_their_pictures() -> None:
    # Prompt 0 has means 1 of one picture, prompt 1 0.2 of three: 0.6 over prompts, 0.4 over answers.
    found = summarise(Captions, rows("c", [1.0, None], [0.2, 0.2, 0.2]), judge)
    assert found["overall"]["value"] == pytest.approx(0.6)
    assert found["categories"]["answers"]["value"] == pytest.approx(0.4)
    assert (found["overall"]["n"], found["overall"]["expected"], found["overall"]["missing"]) == (4, 5, 1)
    assert found["overall"]["prompts"] == 2
    assert found["overall"]["protocol"] == "approx:answers"
    assert found["categories"]["answers"]["pass_at"] == {}


def test_where_nothing_was_judged_there_is_no_number_and_no_overall() -> None:
    found = summarise(Tags, rows("a", [True], key="exact") + rows("b", [None]), judge)
    assert found["categories"]["b"]["value"] is None
    assert found["categories"]["b"]["missing"] == 1
    assert found["overall"]["value"] is None
    assert found["overall"]["low"] is None
    with pytest.raises(ValueError, match="judged no picture"):
        summarise(Tags, [], judge)


def test_a_benchmark_may_have_no_overall_number() -> None:
    found = summarise(Open, rows("a", [0.5]), judge)
    assert found["overall"] is None
    assert (found["extra"], found["protocol"]) == ({"further": 1.0}, "approx:a")


def test_the_interval_is_over_prompts_and_not_pictures() -> None:
    # Ten pictures of each of two prompts are no more certain than one of each.
    few = summarise(Open, rows("a", [0.0], [1.0]), judge)["categories"]["a"]
    many = summarise(Open, rows("a", [0.0] * 10, [1.0] * 10), judge)["categories"]["a"]
    assert (few["low"], few["high"]) == (many["low"], many["high"]) == (0.0, 1.0)


def test_differences_pair_prompts_and_count_ties_half() -> None:
    before = rows("a", [0.0], [0.5], [0.5]) + rows("b", [1.0])
    after = rows("a", [1.0], [0.5], [0.0]) + rows("b", [0.0])
    found = differences(Tags, before, after)
    assert found["a"].difference == pytest.approx(0.5 / 3)
    assert found["a"].win_rate == 0.5  # one won, one tied, one lost
    assert found["b"][:3] == (-1, -1, -1)
    assert found["overall"].difference == pytest.approx((0.5 / 3 - 1) / 2)
    assert found["overall"].win_rate == pytest.approx(1.5 / 4)
    assert "overall" not in differences(Open, before, after)
    assert differences(Captions, before, after)["overall"].prompts == 4


def test_a_difference_of_the_same_pictures_is_nothing() -> None:
    same = rows("a", [0.1, 0.9], [0.3, None])
    assert differences(Tags, same, same)["a"] == (0, 0, 0, 0.5, 2)


def test_other_prompts_do_not_compare_and_missing_ones_are_left_out() -> None:
    with pytest.raises(ValueError, match="only the same prompts"):
        differences(Tags, rows("a", [1.0]), rows("a", [1.0], [1.0]))
    found = differences(Tags, rows("a", [0.0], [None], [None]), rows("a", [1.0], [1.0], [None]))
    assert found["a"].prompts == 1
    assert differences(Tags, rows("a", [None]), rows("a", [1.0])) == {}
